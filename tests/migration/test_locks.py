"""Migrations of PostgreSQL take turns, and neither wait nor run for long."""

from __future__ import annotations

from contextlib import closing, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zlib import crc32

import psycopg
import pytest
from sqlalchemy import Connection, NullPool, QueuePool, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from shortsdb.migration import locks
from shortsdb.migration.locks import (
    advisory_lock,
    autocommit,
    limit_waits,
    session_lock,
    set_timeouts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgresql_server import Database

NAMES = ("lock_timeout", "statement_timeout")
HOLDERS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    f" AND objid = {crc32(b'versions')}"
)


@pytest.fixture
def connection(target: Database) -> Iterator[Connection]:
    """Return a connection in no transaction, with timeouts of its own."""
    options = "-c lock_timeout=7s -c statement_timeout=8s -c idle_session_timeout=1h"
    engine = create_engine(target.url, poolclass=NullPool, connect_args={"options": options})
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def other(target: Database) -> Iterator[psycopg.Connection]:
    """Return a connection of another program, which commits each statement."""
    url = target.server.url(target.name)
    with closing(psycopg.connect(url, autocommit=True)) as other:
        yield other


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("LOCK", "2.5"), ("STATEMENT", "3.5")):
        monkeypatch.setenv(f"SHORTSDB_{name}_TIMEOUT", seconds)


def timeouts(connection: Connection) -> tuple[str, ...]:
    return tuple(connection.scalar(text(f"SHOW {name}")) for name in NAMES)


def holders(other: psycopg.Connection) -> int:
    (count,) = other.execute(HOLDERS.encode()).fetchone() or (0,)
    return int(count)


@pytest.mark.parametrize(
    ("lock", "statement", "shown"),
    [(0, 0, ("1ms", "0")), (1.5, 2.5, ("1500ms", "2500ms")), (60, 3600, ("1min", "1h"))],
)
def test_timeouts_are_set_for_the_transaction_or_the_session(
    connection: Connection, lock: float, statement: float, shown: tuple[str, str]
) -> None:
    set_timeouts(connection, lock=lock, statement=statement)
    assert timeouts(connection) == shown
    connection.commit()
    assert timeouts(connection) == ("7s", "8s")
    set_timeouts(connection, lock=lock, statement=statement, local=False)
    connection.commit()
    assert timeouts(connection) == shown


def test_waits_are_limited_by_the_settings(connection: Connection) -> None:
    limit_waits(connection)
    assert timeouts(connection) == ("2500ms", "3500ms")


def test_without_settings_who_blocks_others_waits_less_long(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for CREATE INDEX CONCURRENTLY, but everybody for an ALTER TABLE that waits."""
    monkeypatch.delenv("SHORTSDB_LOCK_TIMEOUT")
    with connection.begin():
        limit_waits(connection)
        assert timeouts(connection) == ("5s", "3500ms")
    with autocommit(connection):
        assert timeouts(connection) == ("1min", "0")


def test_a_transaction_holds_the_lock(connection: Connection, other: psycopg.Connection) -> None:
    with advisory_lock(connection, "versions", connection.begin):
        assert timeouts(connection) == ("2500ms", "3500ms")
        assert holders(other) == 1
        assert other.execute(
            f"SELECT pg_try_advisory_lock({crc32(b'versions')})".encode()
        ).fetchone() == (False,)
        connection.execute(text("CREATE TABLE made (id int)"))
    assert holders(other) == 0
    assert not connection.in_transaction()
    other.execute("DROP TABLE made")  # it was committed


def test_the_timeouts_of_a_transaction_are_what_they_were(connection: Connection) -> None:
    with connection.begin():
        with advisory_lock(connection, "versions", connection.begin_nested):
            assert timeouts(connection) == ("2500ms", "3500ms")
        assert timeouts(connection) == ("7s", "8s")
    with connection.begin():
        set_timeouts(connection, lock=9, statement=9)
        with advisory_lock(connection, "versions", connection.begin_nested):
            pass
        assert timeouts(connection) == ("9s", "9s")
    assert timeouts(connection) == ("7s", "8s")  # those of the session are left alone


def held(connection: Connection, lock: str) -> Any:  # noqa: ANN401 - either context manager
    if lock == "advisory":
        return advisory_lock(connection, "versions", connection.begin)
    return session_lock(connection, "versions")


@pytest.mark.parametrize("lock", ["advisory", "session"])
@pytest.mark.parametrize(("limit", "pause"), [("0.5", 0.25), ("", 25)])
def test_who_waits_too_long_gets_the_error_of_the_server(  # noqa: PLR0913, PLR0917 - fixtures
    connection: Connection,
    other: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    lock: str,
    limit: str,
    pause: float,
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", limit)  # 60 s without one
    paused: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: 100 + sum(paused), sleep=paused.append)
    monkeypatch.setattr(locks, "time", clock)
    monkeypatch.setattr(locks, "_POLL_SECONDS", pause)
    with connection.begin():  # then that timeout is not what ends it
        set_timeouts(connection, lock=7, statement=2, local=False)
    other.execute(f"SELECT pg_advisory_lock({crc32(b'versions')})".encode())
    with (
        pytest.raises((OperationalError, psycopg.OperationalError), match="due to lock timeout"),
        held(connection, lock),
    ):
        pass
    assert paused == [pause] * 3  # until more than the limit has passed
    assert holders(other) == 1
    assert not connection.in_transaction()


@pytest.mark.parametrize("lock", ["advisory", "session"])
def test_who_gets_it_at_the_last_moment_goes_on(
    connection: Connection, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    other.execute(f"SELECT pg_advisory_lock({crc32(b'versions')})".encode())
    moments = iter([100, 200])

    def monotonic() -> int:
        moment = next(moments)
        if moment == 200:
            other.execute("SELECT pg_advisory_unlock_all()")
        return moment

    clock = SimpleNamespace(monotonic=monotonic, sleep=lambda _: None)
    monkeypatch.setattr(locks, "time", clock)
    with held(connection, lock) as cursor:
        assert holders(other) == 1
        if lock == "session":
            assert cursor.execute("SHOW lock_timeout").fetchone() == ("1ms",)
    assert timeouts(connection) == ("7s", "8s")


@pytest.mark.parametrize("lock", ["advisory", "session"])
def test_who_waits_goes_on_when_it_is_free(
    connection: Connection, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    other.execute(f"SELECT pg_advisory_lock({crc32(b'versions')})".encode())
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        assert holders(other) == 1  # it waits in no transaction, and has no lock
        if len(paused) == 3:
            other.execute("SELECT pg_advisory_unlock_all()")

    monkeypatch.setattr("time.sleep", pause)
    with held(connection, lock):
        assert holders(other) == 1
    assert paused == [0.05] * 3


def test_a_session_holds_the_lock_for_the_block(
    connection: Connection, other: psycopg.Connection
) -> None:
    sessions = b"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with connection.begin():
        connection.execute(text("SELECT 1"))
    before = other.execute(sessions).fetchone()
    with session_lock(connection, "versions") as cursor:
        assert cursor.connection.autocommit
        for name in ("statement_timeout", "idle_session_timeout"):
            assert cursor.execute(f"SHOW {name}").fetchone() == ("0",)
        assert not connection.in_transaction()
        assert holders(other) == 1
    while other.execute(sessions).fetchone() != before:  # the server ends a session by and by
        assert holders(other) <= 1
    assert holders(other) == 0


def test_each_statement_of_the_block_commits_by_itself(
    connection: Connection, other: psycopg.Connection
) -> None:
    with connection.begin():
        level = connection.get_isolation_level()
    with suppress(KeyError), autocommit(connection):
        assert timeouts(connection) == ("2500ms", "0")
        connection.execute(text("CREATE TABLE made (id int)"))
        assert other.execute("SELECT count(*) FROM made").fetchone() == (0,)
        raise KeyError
    assert not connection.in_transaction()
    assert timeouts(connection) == ("7s", "8s")
    assert connection.get_isolation_level() == level
    connection.execute(text("DROP TABLE made"))
    connection.rollback()
    assert other.execute("SELECT count(*) FROM made").fetchone() == (0,)
    connection.execution_options(isolation_level="SERIALIZABLE")
    with autocommit(connection):
        connection.execute(text("DROP TABLE made"))
    assert connection.get_isolation_level() == "SERIALIZABLE"


def test_a_lost_connection_is_left_as_it_is(
    connection: Connection, other: psycopg.Connection
) -> None:
    with pytest.raises(OperationalError, match="terminat"), autocommit(connection):
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert connection.invalidated
    assert holders(other) == 0


def test_the_session_ends_with_the_block_whatever_the_pool(target: Database) -> None:
    engine = create_engine(target.url, poolclass=QueuePool)
    with engine.connect() as connection, session_lock(connection, "versions") as cursor:
        assert not cursor.connection.closed
    assert cursor.connection.closed
    engine.dispose()


def test_a_transaction_that_a_statement_has_begun_ends_with_the_block(
    connection: Connection,
) -> None:
    with suppress(DBAPIError), autocommit(connection):
        connection.execute(text("BEGIN"))
        connection.execute(text("SELECT 1/0"))
    assert timeouts(connection) == ("7s", "8s")
