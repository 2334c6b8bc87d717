"""An upgrade that must find a database creates none, and one that creates it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic import command
from click.testing import CliRunner
from project import HEAD

from shortsdb.cli import main
from shortsdb.database import init_db
from shortsdb.migration import MigrationRefused
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database
    from project import Program

MISSING = "must exist (--must-exist, SHORTSDB_MUST_EXIST); nothing was created"


@pytest.mark.parametrize("made", [False, True], ids=["no file", "an empty file"])
def test_where_there_is_none_it_is_refused(tmp_path: Path, alembic: Program, *, made: bool) -> None:
    file = tmp_path / "d.db"
    if made:
        file.touch()
    environment = {"SHORTSDB_MUST_EXIST": "1"}
    refused = CliRunner().invoke(main, ["upgrade", "--must-exist", "--url", str(file)])
    assert refused.exit_code == 1
    assert f"{file} does not exist or has no tables" in refused.output
    assert MISSING in refused.output
    for arguments, variables in ((["-x", "must-exist=yes"], {}), ([], environment)):
        done = alembic("-x", f"url={file}", *arguments, "upgrade", "head", **variables)
        assert done.returncode == 255
        assert MISSING in done.stdout
    assert list(tmp_path.iterdir()) == [file] * made
    assert not made or file.stat().st_size == 0
    # What the command itself is told counts more.
    no = alembic("-x", f"url={file}", "-x", "must-exist=no", "upgrade", "0002", **environment)
    assert no.returncode == 0
    assert f"WARNING {file} is new: creating the schema" in no.stderr
    more = CliRunner().invoke(main, ["upgrade", "--must-exist", "--url", str(file)])
    assert more.exit_code == 0
    again = CliRunner().invoke(main, ["upgrade", "--must-exist", "--url", str(file)])
    assert again.exit_code == 0


def test_a_deployed_file_is_there(deployed_file: Path) -> None:
    done = CliRunner().invoke(main, ["upgrade", "--must-exist", "--url", str(deployed_file)])
    assert done.exit_code == 0


def test_on_postgresql(target: Database, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(MigrationRefused, match="must exist"):
        command.upgrade(alembic_config(target.url, must_exist=True), "head")
    assert target.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0\n"
    command.upgrade(alembic_config(target.url), "head")
    (new,) = [record for record in caplog.records if "is new" in record.getMessage()]
    assert new.levelname == "WARNING"
    command.upgrade(alembic_config(target.url, must_exist=True), "head")
    assert target.psql("SELECT version_num FROM alembic_version") == f"{HEAD}\n"


def test_a_database_in_memory_never_exists_before(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHORTSDB_MUST_EXIST", "1")
    init_db(":memory:").dispose()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    with pytest.raises(MigrationRefused, match="must exist"):
        init_db(tmp_path / "d.db")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("answer", ["", "maybe"])
def test_an_answer_that_is_none(alembic: Program, tmp_path: Path, answer: str) -> None:
    done = alembic("-x", "url=d.db", "-x", f"must-exist={answer}", "upgrade", "head")
    assert done.returncode == 255
    assert f"must-exist (SHORTSDB_MUST_EXIST) is '{answer}', neither yes nor no" in done.stdout
    assert not list(tmp_path.iterdir())
