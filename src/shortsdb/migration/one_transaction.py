"""Keep migrations inside the one transaction of an upgrade.

On SQLite an authorizer denies statements that would end it. On PostgreSQL, and with a SQLite driver
that supports no authorizer, SQLAlchemy's commits are refused before they run, and a COMMIT sent as
a statement is detected afterwards.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.transaction import on_driver
from shortsdb.sqlite.authorizer import Authorizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

_SAVEPOINT = "shortsdb_revision"


class TransactionEnded(Exception):  # noqa: N818 - an event, which becomes a refusal
    """A migration has ended the transaction, so that its changes may have been committed."""


class OneTransaction:
    """Watches the transaction of the migrations.

    Attributes:
        authorizer: The authorizer, which records the tables written to; None if there is none.
        ended: Whether the original transaction has ended.
    """

    _marker: Any  # the id of the transaction on PostgreSQL, as a row

    def __init__(self, connection: Connection) -> None:
        """Prepare; `watch` starts watching.

        Args:
            connection: A connection in a transaction.
        """
        self.authorizer: Authorizer | None = None
        self.ended = False
        self._connection = connection
        self._denied: str | None = None

    @property
    def denied(self) -> str | None:
        """The first statement of a migration that was denied, None if there was none."""
        return self._denied or (self.authorizer.denied if self.authorizer else None)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Prevent statements in the block from ending the transaction.

        An authorizer set by the caller is removed: SQLite cannot report which one was set.
        """
        connection = self._connection
        if connection.dialect.name == "sqlite":
            self.authorizer = _authorize(connection)
        listeners: dict[str, Callable[..., None]] = {}
        if self.authorizer is None:
            listeners = {
                "commit": lambda _: self.deny("COMMIT"),
                "rollback": lambda _: self.deny("ROLLBACK"),
                "after_cursor_execute": lambda *_: self.check(),
            }
        self.mark()
        for name, listener in listeners.items():
            event.listen(connection, name, listener)
        try:
            yield
        except Exception:
            self.has_ended()
            raise
        finally:
            for name, listener in listeners.items():
                event.remove(connection, name, listener)
            if self._denied and not connection.in_transaction():
                # After the refused commit, SQLAlchemy assumes that the transaction has ended.
                connection.connection.rollback()
            if self.authorizer is not None:
                on_driver(connection, lambda driver: driver.set_authorizer(None))

    def check(self) -> None:
        """Check that the original transaction is still open.

        Raises:
            TransactionEnded: It was committed or rolled back.
            MigrationRefused: A statement was denied, even if the migration has caught the error.
        """
        if self.has_ended():
            raise TransactionEnded
        if self.denied:
            raise MigrationRefused(self.denied)

    def has_ended(self) -> bool:
        """Return whether the original transaction has ended; see `check`."""
        if not self.ended:
            self.ended = not self._goes_on()
        return self.ended

    def deny(self, what: str) -> None:
        """Refuse a commit or rollback of SQLAlchemy's before it runs."""
        self._denied = self._denied or what
        raise MigrationRefused(what)

    def mark(self) -> None:
        """Mark the current transaction, so that it can be recognised later."""
        if self._connection.dialect.name == "sqlite":
            if self.authorizer is None:
                self._execute(f"SAVEPOINT {_SAVEPOINT}")
        else:
            self._marker = self._execute("SELECT txid_current()")
            # With AUTOCOMMIT the two queries for the id are in different transactions.
            if not self._goes_on():
                raise MigrationRefused(
                    "the connection handed in commits every statement by itself (AUTOCOMMIT), and "
                    "an upgrade is one transaction; nothing was changed. Hand in one without it"
                )

    def _goes_on(self) -> bool:
        if self._connection.dialect.name != "sqlite":
            return self._goes_on_postgresql()
        if self.authorizer is not None:
            driver = self._connection.connection.driver_connection
            return bool(driver and driver.in_transaction)
        try:
            self._execute(f"RELEASE {_SAVEPOINT}")
        except sqlite3.Error:  # the savepoint ended with its transaction
            return False
        self._execute(f"SAVEPOINT {_SAVEPOINT}")
        return True

    def _goes_on_postgresql(self) -> bool:
        if self._is_lost():
            # Otherwise SQLAlchemy would roll back, and that error would hide the first one.
            self._connection.invalidate()
            return not self._was_committed()
        try:
            return bool(self._execute("SELECT txid_current()") == self._marker)
        except self._connection.dialect.loaded_dbapi.Error:
            # PostgreSQL runs no more statements after an error in a transaction, which may be the
            # original one or one that began after a COMMIT.
            if self._connection.in_nested_transaction():
                return True  # a COMMIT would have ended the savepoint, to which the caller returns
            self._connection.connection.rollback()
            return bool(self._execute(self._status) != ("committed",))

    def _is_lost(self) -> bool:
        """Return whether the connection is lost, also if SQLAlchemy has not noticed."""
        if self._connection.invalidated:
            return True
        driver = self._connection.connection.driver_connection
        return bool(driver is None or driver.closed)

    def _was_committed(self) -> bool:
        """Ask the server over a new connection whether a lost transaction was committed."""
        # A new pool, because the current one may have no free connection.
        pool = self._connection.engine.pool.recreate()
        try:
            with closing(pool.connect()) as other:
                cursor = other.cursor()
                cursor.execute(self._status)
                return bool(cursor.fetchone() == ("committed",))
        except self._connection.dialect.loaded_dbapi.Error:
            return False  # the server is down too, and will roll back the open transaction
        finally:
            pool.dispose()

    @property
    def _status(self) -> str:
        return f"SELECT txid_status({int(self._marker[0])})"

    def _execute(self, statement: str) -> Any:  # noqa: ANN401 - the first row, as the driver's type
        # Not through SQLAlchemy, because its events call this class.
        with closing(self._connection.connection.cursor()) as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None


def _authorize(connection: Connection) -> Authorizer | None:
    """Set an authorizer on the driver's connection and return it; None if it supports none."""

    def set_authorizer(driver: Any) -> Authorizer | None:  # noqa: ANN401 - of any driver
        if not callable(getattr(driver, "set_authorizer", None)):
            return None
        authorizer = Authorizer(lambda: bool(driver.in_transaction))
        driver.set_authorizer(authorizer)
        return authorizer

    return on_driver(connection, set_authorizer)
