"""The preconditions of migrations are checked: one head, and numbers as ids."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from project import HEAD, NEXT

from shortsdb.migration import MigrationRefused, alembic_config

if TYPE_CHECKING:
    from alembic.config import Config

_REVISION = """
revision = {revision!r}
down_revision = {down!r}
branch_labels = depends_on = None
def upgrade(): pass
def downgrade(): pass
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return the configuration of a copy of the revisions, and of a database that is not there."""
    config = alembic_config(str(tmp_path / "new.db"))
    copied = shutil.copytree(ScriptDirectory.from_config(config).dir, tmp_path / "alembic")
    config.set_main_option("script_location", str(copied))
    config.set_main_option("revision_environment", "true")
    return config


def add(config: Config, revision: str, down: str) -> None:
    script = ScriptDirectory.from_config(config)
    text = _REVISION.format(revision=revision, down=down)
    (Path(script.versions) / f"{revision}_more.py").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("to", ["heads", NEXT])
def test_two_heads_are_refused(config: Config, tmp_path: Path, to: str) -> None:
    add(config, NEXT, HEAD)
    add(config, "9999", HEAD)
    with pytest.raises(MigrationRefused, match=rf"there are 2 newest revisions \({NEXT}, 9999\)"):
        command.upgrade(config, to)
    assert not (tmp_path / "new.db").exists()


def test_no_next_number_after_a_non_numeric_revision(config: Config) -> None:
    add(config, "f00d", HEAD)
    command.upgrade(config, "head")
    with pytest.raises(MigrationRefused, match="f00d, which is not a number"):
        command.revision(config, "more")
