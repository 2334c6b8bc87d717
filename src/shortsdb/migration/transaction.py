"""SQLite transactions that hold: DDL inside, begun when we say so, with the write lock first."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from shortsdb.migration.errors import MigrationRefused
from shortsdb.settings import lock_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

T = TypeVar("T")

# How long a COMMIT keeps new readers out while it waits for old ones. Deployed code, which gives
# up after 5 s, then gets as long a pause.
_COMMIT_SECONDS = 1.0


class ReadersInTheWay(Exception):  # noqa: N818 - an event, not an error: the upgrade tries again
    """With a rollback journal nothing can be committed while somebody reads; it is rolled back."""


def on_driver(connection: Connection, function: Callable[[Any], T]) -> T:
    """Call a function with the sqlite3.Connection behind `connection`, in the thread it belongs to.

    Args:
        connection: An SQLite connection of any driver.
        function: Gets the driver's connection; with aiosqlite the sqlite3.Connection in its thread.
    """
    driver = connection.connection.driver_connection
    if not hasattr(driver, "_conn"):
        return function(driver)
    # aiosqlite runs what it is asked for in a thread of its own, and has no public way to ask for
    # anything else.
    adapter: Any = connection.connection.dbapi_connection
    result: T = adapter.run_async(lambda aiosqlite: aiosqlite._execute(function, aiosqlite._conn))  # noqa: SLF001 - see above
    return result


def begin(connection: Connection, statement: str) -> None:
    """Make what SQLAlchemy has just begun a transaction of SQLite's, by a BEGIN of our own.

    Args:
        connection: One inside `sqlite_transactions`, on which nothing has been run yet.
        statement: "BEGIN", or "BEGIN IMMEDIATE" to take the write lock before anything is read.
    """
    driver_connection = connection.connection.driver_connection
    if driver_connection is not None and driver_connection.in_transaction:
        # A listener of the caller's engine has begun already, perhaps without the lock.
        connection.exec_driver_sql("ROLLBACK")
    _set_busy_timeout(connection, lock_timeout())
    connection.exec_driver_sql(statement)


def commit(connection: Connection) -> None:
    """Commit what `begin` has begun, or roll it back if that takes longer than a second.

    A COMMIT that waits for readers keeps new ones out, and one that failed does so until it is
    rolled back.

    Raises:
        ReadersInTheWay: It is rolled back.
    """
    _set_busy_timeout(connection, min(_COMMIT_SECONDS, lock_timeout()))
    try:
        connection.exec_driver_sql("COMMIT")
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        connection.exec_driver_sql("ROLLBACK")
        raise ReadersInTheWay from error


def wait_for_readers(took: float, until: float) -> bool:
    """Let others read and write for at least as long as they were kept waiting.

    The pause is random: one in step with readers that come regularly would meet them every time.
    It does not ask whether anybody reads, because the answer may be another one by the next COMMIT.

    Args:
        took: How many seconds the attempt took that was rolled back.
        until: When to give up, by time.monotonic.

    Returns:
        Whether there is time to try again.
    """
    pause = max(took, _COMMIT_SECONDS) * random.uniform(1, 2)  # noqa: S311 - not secret
    if time.monotonic() + pause > until:
        return False
    time.sleep(pause)
    return True


def _set_busy_timeout(connection: Connection, seconds: float) -> None:
    cursor = connection.connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
    cursor.close()


def _settings(*, changes: bool, wal: bool) -> dict[str, str | int]:
    """Return what the PRAGMAs of a connection are set to for the time of a command."""
    settings: dict[str, str | int] = {
        # Enforcement would delete or refuse rows while a revision rebuilds a table, and it can
        # only be switched off outside a transaction.
        "foreign_keys": "OFF",
        "busy_timeout": int(lock_timeout() * 1000),
    }
    if changes:
        settings |= {
            "query_only": "OFF",
            # FULL does not make the deletion of the rollback journal durable: a power cut just
            # after a reported success would bring the old schema back.
            "synchronous": "EXTRA",
        }
    if changes and not wal:
        # With a rollback journal, writing pages before the COMMIT would keep readers out until
        # then. They are kept in memory instead.
        settings["cache_spill"] = "OFF"
    return settings


@contextmanager
def sqlite_transactions(connection: Connection, *, changes: bool) -> Iterator[bool]:
    """Let transactions of `connection` be begun by `begin`, and put everything back at the end.

    By itself the sqlite3 module runs DDL outside any transaction, so that a killed upgrade leaves
    half a schema.

    Gives whether transactions are ours to begin. A connection that the caller hands in within a
    transaction of its own is left as it is: what has begun cannot be begun otherwise, and the
    caller commits.

    Args:
        connection: An SQLite connection of any driver.
        changes: Whether the command changes the database.

    Raises:
        MigrationRefused: The caller's transaction enforces foreign keys.
    """
    dbapi_connection = connection.connection.dbapi_connection
    assert dbapi_connection is not None  # noqa: S101 - the connection is open
    cursor = dbapi_connection.cursor()

    def pragma(setting: str) -> Any:  # noqa: ANN401 - whatever the PRAGMA holds
        # Not through SQLAlchemy: any statement before context.configure begins a transaction,
        # which Alembic takes for the caller's and never commits.
        cursor.execute(f"PRAGMA {setting}")
        row = cursor.fetchone()
        return row and row[0]

    foreign_keys = pragma("foreign_keys")
    if connection.in_transaction():
        if changes and foreign_keys:
            raise MigrationRefused(
                "the connection handed in is in a transaction with foreign_keys = ON, which "
                "cannot be switched off inside one; a revision that rebuilds a table would delete "
                "what points to it. Hand it in before it begins, or with foreign_keys = OFF"
            )
        yield False
        return

    settings = _settings(changes=changes, wal=pragma("journal_mode") == "wal")
    before = {name: pragma(name) for name in settings}
    isolation_level = dbapi_connection.isolation_level

    def restore() -> None:
        if connection.in_transaction():
            connection.rollback()
        driver = connection.connection.driver_connection
        if driver is not None and driver.in_transaction:  # one that SQLAlchemy does not know of
            cursor.execute("ROLLBACK")
        for name, value in before.items():
            pragma(f"{name} = {value}")
        dbapi_connection.isolation_level = isolation_level
        cursor.close()

    try:
        # None: the sqlite3 module begins nothing by itself.
        dbapi_connection.isolation_level = None
        for name, value in settings.items():
            pragma(f"{name} = {value}")
        yield True
    except BaseException:
        # The cause is what counts, and not that a broken connection cannot be put back either.
        with suppress(SQLAlchemyError, sqlite3.Error):
            restore()
        raise
    restore()


@contextmanager
def read_only_transaction(connection: Connection) -> Iterator[None]:
    """Hold a transaction that, on SQLite, cannot write; the caller's own where there is one."""
    on_sqlite = connection.dialect.name == "sqlite"
    with sqlite_transactions(connection, changes=False) if on_sqlite else nullcontext():
        if connection.in_transaction():
            yield
            return
        with connection.begin():
            if not on_sqlite:
                yield
                return
            begin(connection, "BEGIN")
            # Only now: a listener of the caller's engine may have begun with the write lock.
            before = connection.exec_driver_sql("PRAGMA query_only").scalar_one()
            connection.exec_driver_sql("PRAGMA query_only = ON")
            try:
                yield
            finally:
                connection.exec_driver_sql(f"PRAGMA query_only = {before}")
