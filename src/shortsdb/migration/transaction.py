"""SQLite transactions that hold: DDL inside, begun when we say so, with the write lock first."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from shortsdb.migration.errors import MigrationRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


def lock_timeout() -> float:
    """Return how many seconds to wait for a lock: SHORTSDB_LOCK_TIMEOUT, or 60.

    Raises:
        MigrationRefused: The variable holds no number of seconds.
    """
    given = os.environ.get("SHORTSDB_LOCK_TIMEOUT") or "60"
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1
    # SQLite counts milliseconds in 32 bits.
    if not 0 <= seconds <= 2**31 / 1000 - 1:
        raise MigrationRefused(f"SHORTSDB_LOCK_TIMEOUT is {given!r}, not a number of seconds")
    return seconds


class Transactions:
    """How the transactions of one SQLite connection begin."""

    def __init__(self, connection: Connection, *, changes: bool) -> None:
        """Let transactions of `connection` take the write lock at once if it changes anything."""
        self.connection = connection
        self.begin = "BEGIN IMMEDIATE" if changes else "BEGIN"

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read in a transaction that takes no write lock, and end it."""
        begin, self.begin = self.begin, "BEGIN"
        try:
            with self.connection.begin() as transaction:
                yield
                transaction.rollback()
        finally:
            self.begin = begin


@contextmanager
def sqlite_transactions(connection: Connection, *, changes: bool) -> Iterator[Transactions | None]:
    """Let the next transactions of `connection` be whole ones, and put everything back at the end.

    By itself the sqlite3 module runs DDL outside any transaction, so that a killed upgrade leaves
    half a schema.

    A connection that the caller hands in within a transaction of its own is left as it is, and
    None given: what has begun cannot be begun otherwise, and the caller commits.

    Args:
        connection: An SQLite connection of any driver.
        changes: Whether the command changes the database. It then takes the write lock before it
            reads the revision, so that a second one waits; else it cannot write at all.

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
        yield None
        return

    transactions = Transactions(connection, changes=changes)

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(transactions.begin)

    isolation_level = dbapi_connection.isolation_level
    busy_timeout = pragma("busy_timeout")
    synchronous = pragma("synchronous") if changes else None
    # None: the sqlite3 module begins nothing by itself, so that `begin` decides.
    dbapi_connection.isolation_level = None
    # Enforcement would delete or refuse rows while a revision rebuilds a table, and it can only be
    # switched off outside a transaction.
    pragma("foreign_keys = OFF")
    pragma(f"busy_timeout = {int(lock_timeout() * 1000)}")
    pragma(f"query_only = {not changes}")
    if changes:
        # FULL does not make the deletion of the rollback journal durable: a power cut just after a
        # reported success would bring the old schema back.
        pragma("synchronous = EXTRA")
    event.listen(connection, "begin", begin)
    try:
        yield transactions
    finally:
        event.remove(connection, "begin", begin)
        if synchronous is not None:
            pragma(f"synchronous = {synchronous}")
        pragma("query_only = OFF")
        pragma(f"busy_timeout = {busy_timeout}")
        pragma(f"foreign_keys = {foreign_keys}")
        dbapi_connection.isolation_level = isolation_level
        cursor.close()
