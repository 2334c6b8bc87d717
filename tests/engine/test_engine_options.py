"""The defaults of engines, and which options of the caller replace or extend them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest
from inspect_sqlite import execute
from sqlalchemy import text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool, QueuePool

from shortsdb.engine import create_async_engine, create_engine

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database


def test_an_async_engine_on_a_file_opens_a_hundred_connections_and_keeps_fifty(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        engine = create_async_engine(tmp_path / "x.db", pool_timeout=0.01)
        connections = [await engine.connect() for _ in range(100)]
        with pytest.raises(PoolTimeoutError, match="limit of size 50 overflow 50 reached"):
            await engine.connect()
        for connection in connections:
            await connection.close()
        assert isinstance(engine.pool, QueuePool)
        assert engine.pool.checkedin() == 50
        await engine.dispose()

    asyncio.run(main())


@pytest.mark.parametrize("place", ["file", "memory"])
def test_options_of_the_caller_replace_the_defaults(tmp_path: Path, place: str) -> None:
    url = tmp_path / "x.db" if place == "file" else "sqlite://"
    engine = create_engine(url)
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.size() == (5 if place == "file" else 1)
    engine = create_engine(url, pool_size=3)
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.size() == 3
    assert isinstance(create_engine(url, poolclass=NullPool).pool, NullPool)
    async_engine = create_async_engine(url, pool_size=3, max_overflow=0)
    assert isinstance(async_engine.pool, QueuePool)
    assert async_engine.pool.size() == 3
    assert isinstance(create_async_engine(url, poolclass=NullPool).pool, NullPool)


def test_arguments_for_the_driver_extend_those_of_a_database_in_memory() -> None:
    class Special(sqlite3.Connection):
        pass

    engine = create_engine("sqlite://", connect_args={"factory": Special})
    with engine.connect() as connection:
        assert isinstance(connection.connection.driver_connection, Special)
        connection.rollback()
        used: list[object] = []

        def use() -> None:
            used.append(connection.scalar(text("SELECT 1")))

        thread = threading.Thread(target=use)
        thread.start()
        thread.join(30)
        assert used == [1]
    engine.dispose()


def test_a_pragma_that_is_none_is_not_set(tmp_path: Path) -> None:
    execute(tmp_path / "x.db", "CREATE TABLE t (a)")
    engine = create_engine(
        tmp_path / "x.db",
        pragmas={"journal_mode": None, "foreign_keys": None, "cache_size": -77},
    )
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "delete"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 0
        assert connection.scalar(text("PRAGMA cache_size")) == -77
        assert connection.scalar(text("PRAGMA busy_timeout")) == 30_000
    engine.dispose()


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "read committed"), ({"isolation_level": "SERIALIZABLE"}, "serializable")],
)
def test_transactions_on_postgresql_are_read_committed_whatever_the_server_says(
    target: Database, given: dict[str, Any], expected: str
) -> None:
    options = {"options": "-c default_transaction_isolation=repeatable\\ read"}
    engine = create_engine(target.url, connect_args=options, **given)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW transaction_isolation")) == expected
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.prepare_threshold is None
    engine.dispose()


def test_arguments_for_the_driver_precede_the_defaults(target: Database) -> None:
    engine = create_engine(target.url, connect_args={"prepare_threshold": 3})
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.prepare_threshold == 3
    engine.dispose()


def test_settings_of_async_engines_are_those_that_are_given(
    tmp_path: Path, target: Database
) -> None:
    async def main() -> None:
        engine = create_async_engine(tmp_path / "x.db", pragmas={"cache_size": -77})
        async with engine.connect() as connection:
            assert await connection.scalar(text("PRAGMA cache_size")) == -77
        await engine.dispose()
        engine = create_async_engine(target.url, schema="channel")
        async with engine.connect() as connection:
            assert await connection.scalar(text("SHOW search_path")) == "channel"
        await engine.dispose()

    asyncio.run(main())


def test_a_schema_is_refused_on_sqlite(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="SQLite has no schemas"):
        create_engine(tmp_path / "x.db", schema="channel")


def test_what_a_raw_connection_writes_begins_with_the_lock(tmp_path: Path) -> None:
    engine = create_engine(tmp_path / "x.db")
    raw = engine.raw_connection()
    statements: list[str] = []
    raw.cursor().execute("CREATE TABLE t (a)")
    raw.driver_connection.set_trace_callback(statements.append)  # type: ignore[union-attr]
    raw.cursor().execute("INSERT INTO t VALUES (1)")
    assert [statement.split()[:2] for statement in statements] == [
        ["BEGIN", "IMMEDIATE"],
        ["INSERT", "INTO"],
    ]
    raw.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("given", "sync", "of_async"),
    [
        ("sqlite:////x.db", "sqlite", "sqlite+aiosqlite"),
        ("sqlite+pysqlite:////x.db", "sqlite+pysqlite", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:////x.db", "sqlite", "sqlite+aiosqlite"),
        ("postgresql://h/d", "postgresql+psycopg", "postgresql+psycopg"),
        ("postgresql+psycopg_async://h/d", "postgresql+psycopg", "postgresql+psycopg_async"),
    ],
)
def test_a_driver_of_the_other_kind_is_replaced(given: str, sync: str, of_async: str) -> None:
    assert create_engine(given).url.drivername == sync
    assert create_async_engine(given).url.drivername == of_async
    assert create_async_engine(given).dialect.is_async
