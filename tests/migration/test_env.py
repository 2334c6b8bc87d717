"""Where env.py takes its settings from: -x, the caller, the environment, and then a default."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from alembic import command
from inspect_sqlite import version
from project import HEAD

from shortsdb.lifecycle import init_db
from shortsdb.migration import alembic_config
from shortsdb.settings import DEFAULT_URL

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from postgresql_server import Database
    from project import Program
    from project_copy import Checkout


def test_the_argument_of_init_db_precedes_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_URL", str(tmp_path / "other.db"))
    init_db(tmp_path / "told.db").dispose()
    assert version(tmp_path / "told.db") == [HEAD]
    assert not (tmp_path / "other.db").exists()


def test_the_environment_precedes_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHORTSDB_URL", str(tmp_path / "other.db"))
    command.upgrade(alembic_config(), "0001")
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]
    monkeypatch.delenv("SHORTSDB_URL")
    command.upgrade(alembic_config(), "0001")
    assert {path.name for path in tmp_path.iterdir()} == {
        "other.db",
        DEFAULT_URL.rpartition("/")[2],
    }


def test_x_precedes_the_environment(alembic: Program, deployed_file: Path) -> None:
    """As every setting: the database, the folder of its backups, and whether it must exist."""
    folder = deployed_file.parent
    (folder / "told").mkdir()
    environment = {
        "SHORTSDB_URL": "other.db",
        "SHORTSDB_BACKUP": "off",
        "SHORTSDB_MUST_EXIST": "yes",
    }
    told = ("-x", f"url={deployed_file}", "-x", "backup=told")
    done = alembic(*told, "upgrade", "0002", **environment)
    assert done.returncode == 0
    assert f"{deployed_file} is now at 0002 (it had no version)" in done.stderr
    assert version(deployed_file) == ["0002"]
    assert len(list((folder / "told").iterdir())) == 1
    assert {path.name for path in folder.iterdir()} == {"deployed.db", "told"}
    shown = alembic("-x", f"url={deployed_file}", "current", **environment)
    assert shown.stdout == "0002\n"
    missing = alembic("-x", "url=x.db", "upgrade", "head", **environment)
    assert "must exist" in missing.stdout
    made = alembic("-x", "url=x.db", "-x", "must-exist=no", "upgrade", "head", **environment)
    assert made.returncode == 0


def test_the_callers_folder_of_backups_precedes_the_environment(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [deployed_file.parent / name for name in ("told", "environment")]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setenv("SHORTSDB_BACKUP", str(folders[1]))
    command.upgrade(alembic_config(str(deployed_file), backup=str(folders[0])), "0002")
    assert [len(list(folder.iterdir())) for folder in folders] == [1, 0]
    command.upgrade(alembic_config(str(deployed_file)), "head")
    assert [len(list(folder.iterdir())) for folder in folders] == [1, 1]


def test_x_names_the_schema(
    alembic: Program, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_SCHEMA", "other")
    done = alembic("-x", f"url={target.url}", "-x", "schema=told", "upgrade", "0001")
    assert done.returncode == 0
    schemas = "SELECT schemaname FROM pg_tables WHERE tablename = 'alembic_version' ORDER BY 1"
    assert target.psql(schemas) == "told\n"
    command.upgrade(alembic_config(target.url, schema="called"), "0001")
    assert target.psql(schemas) == "called\ntold\n"
    command.upgrade(alembic_config(target.url), "0001")
    assert target.psql(schemas) == "called\nother\ntold\n"


def test_an_unknown_x_is_refused_without_its_value(alembic: Program) -> None:
    for given, shown in (("uri=s3cret", "uri"), ("u:s3cret=1", "what was given")):
        done = alembic("-x", given, "upgrade", "head")
        assert done.returncode != 0
        assert f"-x knows url=…, backup=…, schema=…, must-exist=…, and not {shown}" in done.stdout
        assert "s3cret" not in done.stdout + done.stderr


def test_an_application_keeps_its_logging(tmp_path: Path) -> None:
    before = list(logging.root.handlers), logging.getLogger("shortsdb").level
    logging.root.handlers.clear()
    try:
        command.upgrade(alembic_config(str(tmp_path / "d.db")), "0001")
        assert not logging.root.handlers
    finally:
        logging.root.handlers[:] = before[0]
    assert logging.getLogger("shortsdb").level == before[1]


def test_a_new_model_must_be_complete(checkout: Checkout) -> None:
    checkout.change(
        "analytics", "    like_count:", "    shares: Mapped[int | None]\n    like_count:"
    )
    refused = checkout.run("alembic", "revision", "--autogenerate", "-m", "Count shares")
    assert refused.returncode != 0
    assert "shares" in refused.stdout
    assert checkout.run("alembic", "revision", "-m", "by hand").returncode == 0
