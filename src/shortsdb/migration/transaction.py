"""SQLite transactions that hold: DDL inside, begun when we say so, with the write lock first."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


@contextmanager
def sqlite_transactions(connection: Connection, *, changes: bool) -> Iterator[None]:
    """Let the next transaction of `connection` be a whole one, and put everything back at the end.

    By itself the sqlite3 module runs DDL outside any transaction, so that a killed upgrade leaves
    half a schema.

    A connection that the caller hands in within a transaction of its own is left as it is: what
    has begun cannot be begun otherwise, and the caller commits.

    Args:
        connection: An SQLite connection of any driver.
        changes: Whether the command changes the database. It then takes the write lock before it
            reads the revision, so that a second one waits; else it cannot write at all.
    """
    if connection.in_transaction():
        yield
        return
    dbapi_connection = connection.connection.dbapi_connection
    assert dbapi_connection is not None  # noqa: S101 - the connection is open
    cursor = dbapi_connection.cursor()

    def pragma(setting: str) -> Any:  # noqa: ANN401 - whatever the PRAGMA holds
        # Not through SQLAlchemy: any statement before context.configure begins a transaction,
        # which Alembic takes for the caller's and never commits.
        cursor.execute(f"PRAGMA {setting}")
        row = cursor.fetchone()
        return row and row[0]

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if changes else "BEGIN")

    isolation_level = dbapi_connection.isolation_level
    foreign_keys = pragma("foreign_keys")
    # None: the sqlite3 module begins nothing by itself, so that `begin` decides.
    dbapi_connection.isolation_level = None
    # Enforcement would delete or refuse rows while a revision rebuilds a table, and it can only be
    # switched off outside a transaction.
    pragma("foreign_keys = OFF")
    pragma(f"query_only = {not changes}")
    event.listen(connection, "begin", begin)
    try:
        yield
    finally:
        event.remove(connection, "begin", begin)
        pragma("query_only = OFF")
        pragma(f"foreign_keys = {foreign_keys}")
        dbapi_connection.isolation_level = isolation_level
        cursor.close()
