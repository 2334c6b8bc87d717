"""The settings of a connection during a command, and the BEGIN and COMMIT of its transaction."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from inspect_sqlite import execute
from sqlalchemy import Connection, NullPool, create_engine, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from shortsdb.migration import MigrationRefused, transaction
from shortsdb.migration.transaction import (
    ReadersInTheWay,
    begin,
    commit,
    on_driver,
    read_only_transaction,
    sqlite_transactions,
    wait_for_readers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Server

PRAGMAS = ("foreign_keys", "busy_timeout", "query_only", "synchronous", "cache_spill")
# None of them is SQLite's default, and none is what a command sets.
OF_THE_CALLER = {"foreign_keys": 1, "busy_timeout": 1234, "query_only": 1, "synchronous": 1}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with a table."""
    path = tmp_path / "d.db"
    execute(path, "CREATE TABLE t (a)")
    return path


@pytest.fixture
def connection(path: Path) -> Iterator[Connection]:
    """Return a connection to it, in no transaction, with settings of its own."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        for name, value in OF_THE_CALLER.items():
            driver(connection).execute(f"PRAGMA {name} = {value}")
        yield connection


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """Return a connection of another program, which waits for nobody."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        yield other


def driver(connection: Connection) -> Any:  # noqa: ANN401 - sqlite3's, which may be None to mypy
    return connection.connection.driver_connection


def settings(connection: Connection) -> dict[str, int]:
    """Return the settings, without beginning a transaction."""
    read = {name: driver(connection).execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS}
    return read | {"isolation_level": driver(connection).isolation_level}


CHANGES = {"query_only": 0, "synchronous": 3}


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_settings_last_as_long_as_the_command(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, journal_mode: str, *, changes: bool
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "2.5")
    driver(connection).execute("PRAGMA query_only = 0")
    driver(connection).execute(f"PRAGMA journal_mode = {journal_mode}")
    driver(connection).execute("PRAGMA query_only = 1")
    before = settings(connection)
    assert before.items() >= OF_THE_CALLER.items()
    wanted = {"foreign_keys": 0, "busy_timeout": 2500, "isolation_level": None}
    wanted |= CHANGES if changes else {}
    wanted |= {"cache_spill": 0} if changes and journal_mode == "delete" else {}
    with sqlite_transactions(connection, changes=changes) as begins:
        assert begins
        assert not connection.in_transaction()
        assert settings(connection) == before | wanted
    assert settings(connection) == before
    with pytest.raises(KeyError), sqlite_transactions(connection, changes=changes):
        raise KeyError
    assert settings(connection) == before


@pytest.mark.parametrize("begun", ["by SQLAlchemy", "by the driver"])
@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
def test_what_is_open_at_the_end_is_rolled_back(
    connection: Connection, other: sqlite3.Connection, begun: str, error: type[BaseException] | None
) -> None:
    with suppress(KeyError, KeyboardInterrupt), sqlite_transactions(connection, changes=True):
        run = connection.exec_driver_sql if begun == "by SQLAlchemy" else driver(connection).execute
        run("BEGIN IMMEDIATE")
        run("INSERT INTO t VALUES (1)")
        if error:
            raise error
    assert not connection.in_transaction()
    assert not driver(connection).in_transaction
    assert settings(connection)["foreign_keys"] == 1
    other.execute("BEGIN IMMEDIATE")  # nobody holds the lock
    assert other.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_an_error_is_not_hidden_by_that_of_a_broken_connection(connection: Connection) -> None:
    error = KeyError("the first")
    with pytest.raises(KeyError), sqlite_transactions(connection, changes=True):
        raise driver(connection).close() or error


def test_a_broken_connection_is_an_error_without_another(connection: Connection) -> None:
    with pytest.raises(sqlite3.ProgrammingError), sqlite_transactions(connection, changes=True):
        driver(connection).close()


@pytest.mark.parametrize("changes", [False, True])
def test_a_transaction_of_the_caller_is_left_alone(
    connection: Connection, *, changes: bool
) -> None:
    driver(connection).execute("PRAGMA foreign_keys = 0")
    before = settings(connection)
    connection.exec_driver_sql("BEGIN")
    with sqlite_transactions(connection, changes=changes) as begins:
        assert not begins
        assert settings(connection) == before
    assert settings(connection) == before
    assert driver(connection).in_transaction


def test_only_changes_need_foreign_keys_that_are_not_enforced(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
    with sqlite_transactions(connection, changes=False) as begins:
        assert not begins
    with (
        pytest.raises(MigrationRefused, match="foreign_keys = ON, which cannot be switched off"),
        sqlite_transactions(connection, changes=True),
    ):
        pass


def test_begin_replaces_the_transaction_of_a_listener(
    connection: Connection, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0.5")
    with sqlite_transactions(connection, changes=True), connection.begin():
        driver(connection).execute("BEGIN")
        begin(connection, "BEGIN IMMEDIATE")
        assert settings(connection)["busy_timeout"] == 500
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")


def test_begin_takes_no_lock_for_a_plain_begin(
    connection: Connection, other: sqlite3.Connection
) -> None:
    with sqlite_transactions(connection, changes=False), connection.begin():
        begin(connection, "BEGIN")
        other.execute("BEGIN IMMEDIATE")


@pytest.mark.parametrize(("given", "waited"), [("60", 200), ("0.1", 100)])
def test_a_commit_waits_for_readers_for_a_short_time_and_rolls_back(
    connection: Connection,
    other: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    waited: int,
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", given)
    assert transaction._COMMIT_SECONDS == 1  # noqa: SLF001 - too long for a test
    monkeypatch.setattr(transaction, "_COMMIT_SECONDS", 0.2)
    with sqlite_transactions(connection, changes=True):
        with connection.begin():
            begin(connection, "BEGIN IMMEDIATE")
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            other.execute("BEGIN")
            other.execute("SELECT * FROM t").fetchall()
            with pytest.raises(ReadersInTheWay):
                commit(connection)
            assert settings(connection)["busy_timeout"] == waited
            assert not driver(connection).in_transaction
        other.execute("ROLLBACK")
        assert other.execute("SELECT count(*) FROM t").fetchone() == (0,)
        with connection.begin():
            begin(connection, "BEGIN IMMEDIATE")
            assert settings(connection)["busy_timeout"] == float(given) * 1000
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            commit(connection)
    assert other.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_another_error_of_a_commit_is_raised_as_it_is(connection: Connection) -> None:
    with (
        sqlite_transactions(connection, changes=True),
        pytest.raises(OperationalError, match="cannot commit"),
    ):
        commit(connection)


@pytest.mark.parametrize("factor", [1, 1.5, 2])
@pytest.mark.parametrize(("took", "shortest"), [(0.2, 1), (3, 3)])
def test_others_get_as_long_as_they_had_to_wait(
    monkeypatch: pytest.MonkeyPatch, took: float, shortest: float, factor: float
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    monkeypatch.setattr("random.uniform", lambda *bounds: {(1, 2): factor}[bounds])
    pause = factor * shortest
    assert wait_for_readers(took, 100 + pause)
    assert not wait_for_readers(took, 100 + pause - 0.01)
    assert slept == [pause]


@pytest.mark.parametrize("query_only", [0, 1])
def test_a_read_only_transaction_cannot_write(
    connection: Connection, other: sqlite3.Connection, query_only: int
) -> None:
    driver(connection).execute(f"PRAGMA query_only = {query_only}")
    before = settings(connection)
    with read_only_transaction(connection):
        assert connection.in_transaction()
        assert driver(connection).in_transaction
        other.execute("BEGIN IMMEDIATE")  # it has not taken the write lock
        other.execute("ROLLBACK")
        with pytest.raises(OperationalError, match="readonly"):
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert not connection.in_transaction()
    assert settings(connection) == before
    with pytest.raises(KeyError), read_only_transaction(connection):
        raise KeyError
    assert settings(connection) == before


def test_a_read_only_transaction_sees_one_state(
    connection: Connection, other: sqlite3.Connection
) -> None:
    other.execute("PRAGMA journal_mode = wal")
    with read_only_transaction(connection):
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
        other.execute("INSERT INTO t VALUES (1)")
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0


def test_a_read_only_command_uses_the_transaction_of_the_caller(connection: Connection) -> None:
    driver(connection).execute("PRAGMA query_only = 0")
    with connection.begin():
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        before = settings(connection)
        with read_only_transaction(connection):
            assert settings(connection) == before
            assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 1
        assert connection.in_transaction()


@pytest.mark.parametrize("own", [False, True])
def test_a_read_only_transaction_of_postgresql(postgres: Server, *, own: bool) -> None:
    engine = create_engine(postgres.url("postgres").replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        if own:
            connection.begin()
        with read_only_transaction(connection):
            assert connection.scalar(select(1)) == 1
            assert connection.in_transaction()
        assert connection.in_transaction() == own
    engine.dispose()


def test_a_function_is_called_with_the_connection_of_sqlite3(
    connection: Connection, path: Path
) -> None:
    assert on_driver(connection, lambda found: found) is driver(connection)

    async def main() -> tuple[Any, int]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        async with engine.connect() as asynchronous:
            found = await asynchronous.run_sync(
                lambda sync: on_driver(sync, lambda found: (found, threading.get_ident()))
            )
        await engine.dispose()
        return found

    found, thread = asyncio.run(main())
    assert isinstance(found, sqlite3.Connection)
    assert thread != threading.get_ident()
