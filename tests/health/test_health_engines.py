"""How an engine's database is read: in one snapshot, by the thread that asks, despite errors."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import text

from shortsdb.database import check_db_health, init_db
from shortsdb.health import engines
from shortsdb.health.sqlite_file import read_health

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_check_reads_one_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def look(connection: Any, *arguments: Any, **options: Any) -> object:  # noqa: ANN401 - as given
        seen.append(connection.driver_connection.in_transaction)
        return read_health(connection, *arguments, **options)

    monkeypatch.setattr(engines, "read_health", look)
    engine = init_db(tmp_path / "x.db")
    assert check_db_health(engine).ok
    assert seen == [True]
    engine.dispose()


def test_an_error_while_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:  # as a disk does
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(engines, "read_health", fail)
    engine = init_db(tmp_path / "x.db")
    health = check_db_health(engine)
    assert health.problems == ("it cannot be reached or read",)
    assert health.error == "disk I/O error"
    engine.dispose()


def test_a_database_in_memory_is_read_by_the_thread_that_asks() -> None:
    """SQLAlchemy's own engine has another database in each thread."""
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (id INTEGER PRIMARY KEY)"))
    assert not check_db_health(engine, timeout_seconds=60).known
    engine.dispose()
