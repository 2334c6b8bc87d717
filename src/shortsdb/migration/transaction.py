"""SQLite transactions that include DDL, begun explicitly, with the write lock taken first."""

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

# How long a COMMIT may wait for readers while it blocks new ones. Deployed code gives up after 5 s.
# The pause that follows is at least as long.
_COMMIT_SECONDS = 1.0


class ReadersInTheWay(Exception):  # noqa: N818 - an event, not an error: the upgrade tries again
    """Readers of a file with a rollback journal prevented the commit; it was rolled back."""


def on_driver(connection: Connection, function: Callable[[Any], T]) -> T:
    """Call a function with the sqlite3.Connection behind `connection`, in the thread it belongs to.

    Args:
        connection: A SQLite connection of any driver.
        function: Called with the driver's connection, for aiosqlite in the connection's thread.
    """
    driver = connection.connection.driver_connection
    if not hasattr(driver, "_conn"):
        return function(driver)
    # aiosqlite has no public way to run a function of ours in its thread.
    adapter: Any = connection.connection.dbapi_connection
    result: T = adapter.run_async(lambda aiosqlite: aiosqlite._execute(function, aiosqlite._conn))  # noqa: SLF001 - see above
    return result


def begin(connection: Connection, statement: str) -> None:
    """Execute BEGIN for the transaction that SQLAlchemy has just begun.

    Args:
        connection: A connection inside `sqlite_transactions` that has executed nothing yet.
        statement: "BEGIN", or "BEGIN IMMEDIATE" to take the write lock before the first read.
    """
    driver_connection = connection.connection.driver_connection
    if driver_connection is not None and driver_connection.in_transaction:
        # A listener of the caller's engine has executed BEGIN, perhaps without the lock.
        connection.exec_driver_sql("ROLLBACK")
    _set_busy_timeout(connection, lock_timeout())
    connection.exec_driver_sql(statement)


def commit(connection: Connection) -> None:
    """Commit the transaction of `begin`, or roll it back if that takes longer than a second.

    A COMMIT that waits for readers blocks new ones, and so does a failed COMMIT until it is rolled
    back.

    Raises:
        ReadersInTheWay: The transaction was rolled back.
    """
    _set_busy_timeout(connection, min(_COMMIT_SECONDS, lock_timeout()))
    try:
        connection.exec_driver_sql("COMMIT")
    except OperationalError as error:
        if not getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            raise
        connection.exec_driver_sql("ROLLBACK")
        raise ReadersInTheWay from error


def wait_for_readers(took: float, until: float) -> bool:
    """Let others read and write for at least as long as they had to wait.

    The pause has a random length, so that it cannot fall into step with periodic readers. It does
    not check for readers, because new ones may come before the next COMMIT.

    Args:
        took: The duration of the attempt that was rolled back, in seconds.
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
    connection.connection.cursor().execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def _settings(*, changes: bool, wal: bool) -> dict[str, str | int]:
    """Return the PRAGMAs of a connection during a command."""
    settings: dict[str, str | int] = {
        # With enforcement on, rebuilding a table would delete or refuse rows that refer to it.
        # It can only be switched off outside a transaction.
        "foreign_keys": "OFF",
        "busy_timeout": int(lock_timeout() * 1000),
    }
    if changes:
        settings |= {
            "query_only": "OFF",
            # FULL does not sync the deletion of the rollback journal: a power cut just after a
            # reported success would restore the old schema.
            "synchronous": "EXTRA",
        }
    if changes and not wal:
        # With a rollback journal, writing pages before the COMMIT would block readers until then.
        # Keep the pages in memory instead.
        settings["cache_spill"] = "OFF"
    return settings


@contextmanager
def sqlite_transactions(connection: Connection, *, changes: bool) -> Iterator[bool]:
    """Prepare a connection for `begin`, and restore its settings at the end.

    By default the sqlite3 module runs DDL outside any transaction, so that a killed upgrade leaves
    half a schema.

    Yield whether we own the transaction. If the caller hands in a connection in a transaction, the
    connection is left as it is, and the caller commits.

    Args:
        connection: A SQLite connection of any driver.
        changes: Whether the command changes the database.

    Raises:
        MigrationRefused: The caller's transaction enforces foreign keys.
    """
    dbapi_connection = connection.connection.dbapi_connection
    assert dbapi_connection is not None  # noqa: S101 - the connection is open
    cursor = dbapi_connection.cursor()

    def pragma(setting: str) -> Any:  # noqa: ANN401 - the type depends on the PRAGMA
        # Not through SQLAlchemy: any statement before context.configure begins a transaction,
        # which Alembic would treat as the caller's and never commit.
        cursor.execute(f"PRAGMA {setting}")
        row = cursor.fetchone()
        return row and row[0]

    foreign_keys = pragma("foreign_keys")
    if connection.in_transaction():
        if changes and foreign_keys:
            raise MigrationRefused(
                "the connection handed in is in a transaction with foreign_keys = ON, which "
                "cannot be switched off inside one; a revision that rebuilds a table would delete "
                "rows that refer to it. Hand in a connection that is in no transaction, or that "
                "has foreign_keys = OFF"
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
        if driver is not None and driver.in_transaction:  # begun without SQLAlchemy
            cursor.execute("ROLLBACK")
        for name, value in before.items():
            pragma(f"{name} = {value}")
        dbapi_connection.isolation_level = isolation_level

    try:
        # With None, the sqlite3 module does not begin transactions by itself.
        dbapi_connection.isolation_level = None
        for name, value in settings.items():
            pragma(f"{name} = {value}")
        yield True
    except BaseException:
        # Restoring a broken connection may fail too; raise the original error.
        with suppress(SQLAlchemyError, sqlite3.Error):
            restore()
        raise
    restore()


@contextmanager
def read_only_transaction(connection: Connection) -> Iterator[None]:
    """Open a transaction that cannot write on SQLite, or use the caller's transaction."""
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
            # After BEGIN, because a listener of the caller's engine may have taken the write lock.
            before = connection.exec_driver_sql("PRAGMA query_only").scalar_one()
            connection.exec_driver_sql("PRAGMA query_only = ON")
            try:
                yield
            finally:
                connection.exec_driver_sql(f"PRAGMA query_only = {before}")
