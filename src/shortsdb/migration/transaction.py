"""SQLite transactions that hold: DDL inside, begun when we say so, with the write lock first."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from shortsdb.migration.errors import MigrationRefused
from shortsdb.settings import lock_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


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
    connection.exec_driver_sql(statement)


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

    isolation_level = dbapi_connection.isolation_level
    busy_timeout = pragma("busy_timeout")
    synchronous = pragma("synchronous") if changes else None
    # None: the sqlite3 module begins nothing by itself.
    dbapi_connection.isolation_level = None
    # Enforcement would delete or refuse rows while a revision rebuilds a table, and it can only be
    # switched off outside a transaction.
    pragma("foreign_keys = OFF")
    pragma(f"busy_timeout = {int(lock_timeout() * 1000)}")
    if changes:
        pragma("query_only = OFF")
        # FULL does not make the deletion of the rollback journal durable: a power cut just after a
        # reported success would bring the old schema back.
        pragma("synchronous = EXTRA")
    try:
        yield True
    finally:
        if synchronous is not None:
            pragma(f"synchronous = {synchronous}")
        pragma(f"busy_timeout = {busy_timeout}")
        pragma(f"foreign_keys = {foreign_keys}")
        dbapi_connection.isolation_level = isolation_level
        cursor.close()


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
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
            connection.exec_driver_sql("PRAGMA query_only = ON")
            try:
                yield
            finally:
                connection.exec_driver_sql("PRAGMA query_only = OFF")
