"""Migrations of PostgreSQL take turns, and neither wait nor run for long."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING
from zlib import crc32

import psycopg
import pytest
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

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
    options = "-c lock_timeout=7s -c statement_timeout=8s"
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


@pytest.mark.parametrize("lock", ["advisory", "session"])
def test_who_waits_too_long_gets_the_error_of_the_server(
    connection: Connection, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0")
    other.execute(f"SELECT pg_advisory_lock({crc32(b'versions')})".encode())
    held = (
        advisory_lock(connection, "versions", connection.begin)
        if lock == "advisory"
        else session_lock(connection, "versions")
    )
    with (
        pytest.raises((OperationalError, psycopg.OperationalError), match="due to lock timeout"),
        held,
    ):
        pass
    assert holders(other) == 1
    assert not connection.in_transaction()


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
    held = (
        advisory_lock(connection, "versions", connection.begin)
        if lock == "advisory"
        else session_lock(connection, "versions")
    )
    with held:
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
