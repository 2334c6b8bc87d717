"""The database is chosen in the documented order, and passwords are never printed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from alembic import command
from inspect_sqlite import version
from project import HEAD

from shortsdb.migration import MigrationRefused
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from pathlib import Path

    from project import Program


def test_x_url_precedes_the_environment_and_alembic_ini(alembic: Program, tmp_path: Path) -> None:
    for arguments, environment, made in (
        (["-x", "url=sqlite:///x.db"], {"SHORTSDB_URL": "sqlite:///env.db"}, "x.db"),
        ([], {"SHORTSDB_URL": "sqlite:///env.db"}, "env.db"),
        ([], {"SHORTSDB_URL": ""}, "shortsdb.db"),
    ):
        before = {file.name for file in tmp_path.iterdir()}
        assert alembic(*arguments, "upgrade", "head", **environment).returncode == 0
        assert {file.name for file in tmp_path.iterdir()} - before == {made}


@pytest.mark.parametrize(
    "given", ["sqlite:///{}", "sqlite+pysqlite:///{}", "sqlite+aiosqlite:///{}", "{}"]
)
def test_every_way_to_name_a_file(tmp_path: Path, given: str) -> None:
    path = tmp_path / "100% äöü #1.db"
    command.upgrade(alembic_config(given.format(path)), "head")
    assert version(path) == [HEAD]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://one-slash-short.db",
        "nonsense://user:s%C3%A9cr%25t@host/db",
        "postgresql+psycopg://user:s%C3%A9cr%25t@cr%25t@host/db",
        "postgresql+nonsense://user:s%C3%A9cr%25t@host/db",
        "postgresql+psycopg://user:s%C3%A9cr%25t@127.0.0.1:1/db",
        "postgresql+psycopg://user:s%C3%A9cr%25t@host:port/db",
        "://s%C3%A9cr%25t",
    ],
)
def test_a_bad_url_is_refused_without_a_traceback_or_the_password(
    alembic: Program, url: str
) -> None:
    done = alembic("upgrade", "head", SHORTSDB_URL=url)
    assert done.returncode != 0
    assert done.stdout.startswith("FAILED: ")
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    assert "cr%25t" not in printed
    assert "cr%t" not in printed


def test_a_percent_sign_in_the_environment_needs_no_escaping(
    alembic: Program, tmp_path: Path
) -> None:
    assert alembic("upgrade", "head", SHORTSDB_URL="sqlite:///%(here)s%%.db").returncode == 0
    assert (tmp_path / "%(here)s%%.db").exists()


def test_the_logging_of_an_application_is_unchanged(tmp_path: Path) -> None:
    mine = logging.getLogger("application")
    root_handlers, root_level = logging.root.handlers[:], logging.root.level
    command.upgrade(alembic_config(str(tmp_path / "d.db")), "head")
    assert not mine.disabled
    assert logging.root.handlers == root_handlers
    assert logging.root.level == root_level


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MigrationRefused, match=r"nowhere does not exist; check the path"):
        command.upgrade(alembic_config(str(tmp_path / "nowhere" / "d.db")), "head")
    assert not (tmp_path / "nowhere").exists()
