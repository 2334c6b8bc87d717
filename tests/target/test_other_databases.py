"""Databases other than SQLite and PostgreSQL are refused by name, even without their driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from project import HEAD
from sqlalchemy import URL
from sqlalchemy.exc import ArgumentError

from shortsdb.cli import COMMANDS, main
from shortsdb.database import init_db
from shortsdb.engine import create_async_engine, create_engine
from shortsdb.lifecycle import upgrade
from shortsdb.migration.errors import MigrationRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project import Program

NAMES = ["mariadb", "mysql", "mssql", "oracle", "cockroachdb", "postgres", "duckdb", "mongodb"]

ARGUMENTS = {
    "downgrade": ["0001"],
    "stamp": [HEAD],
    "restore": ["x.backup"],
    "verify": ["--latest"],
}


def phrase(name: str) -> str:
    return f"the database URL names {name}, which is not supported; sqlite, sqlite"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("driver", ["", "+pymysql", "+nothing"])
def test_every_entry_point_refuses_other_databases(name: str, driver: str) -> None:
    url = f"{name}{driver}://u:hunter2@localhost/x?charset=utf8"
    ways: list[Callable[[str], object]] = [create_engine, create_async_engine, init_db]
    for way in ways:
        with pytest.raises((ArgumentError, MigrationRefused), match=phrase(name)) as refused:
            way(url)
        assert "hunter2" not in str(refused.value)
    with pytest.raises(MigrationRefused, match=phrase(name)):
        upgrade(url=url)
    with pytest.raises(ArgumentError, match=phrase(name)):
        create_engine(URL.create(name + driver, "u", "hunter2", "localhost"))


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"diagram", "copy"}))
def test_every_command_refuses_other_databases(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [*ARGUMENTS.get(command, []), "--url", "mysql+pymysql://u:hunter2@h/x"]
    done = CliRunner().invoke(main, [command, *arguments])
    assert done.exit_code == 1
    assert phrase("mysql") in done.output
    assert "hunter2" not in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [0, 1])
def test_copy_refuses_other_databases(at: int, tmp_path: Path) -> None:
    sides = [str(tmp_path / "x.db"), str(tmp_path / "y.db")]
    sides[at] = "mariadb://u:hunter2@h/x"
    done = CliRunner().invoke(main, ["copy", *sides])
    assert done.exit_code == 1
    assert phrase("mariadb") in done.output
    assert "hunter2" not in done.output


def test_alembic_refuses_other_databases(alembic: Program) -> None:
    done = alembic("-x", "url=oracle://u:hunter2@h/x", "upgrade", "head")
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert phrase("oracle") in output
    assert "hunter2" not in output
