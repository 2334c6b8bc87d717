"""Keeps revisions inside the one transaction of an upgrade.

On SQLite an authorizer denies what would end it. PostgreSQL has no such thing: there, and for a
driver without one, SQLAlchemy's commits are refused before they run, and a COMMIT that was sent as
a statement is noticed after it.
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
    """A revision has ended the transaction, so that what it did until then may be kept."""


class OneTransaction:
    """Watches the transaction that the revisions run in.

    Attributes:
        authorizer: What knows the tables written to, None where there is none.
        ended: Whether the transaction is another one than it was.
    """

    def __init__(self, connection: Connection) -> None:
        """Watch nothing yet; see `watch`.

        Args:
            connection: One in a transaction.
        """
        self.authorizer: Authorizer | None = None
        self.ended = False
        self._connection = connection
        self._denied: str | None = None
        self._marker: Any = None

    @property
    def denied(self) -> str | None:
        """What a revision tried and must not, None if nothing."""
        return self._denied or (self.authorizer.denied if self.authorizer else None)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Keep what is run in the block from ending the transaction.

        An authorizer that the caller has set on the connection is replaced, and none is left:
        SQLite does not tell which one there is.
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
                # SQLAlchemy takes the transaction whose commit was refused for ended.
                connection.connection.rollback()
            if self.authorizer is not None:
                on_driver(connection, lambda driver: driver.set_authorizer(None))

    def check(self) -> None:
        """Look whether the transaction is still the one that it was.

        Raises:
            TransactionEnded: It is not, and what was done in it is committed or rolled back.
            MigrationRefused: Something was denied, which the revision may have hidden.
        """
        if self.has_ended():
            raise TransactionEnded
        if self.denied:
            raise MigrationRefused(self.denied)

    def has_ended(self) -> bool:
        """Return whether the transaction is another one than it was; see `check`."""
        if not self.ended:
            self.ended = not self._goes_on()
        return self.ended

    def deny(self, what: str) -> None:
        """Refuse a commit or rollback of SQLAlchemy's before it runs."""
        self._denied = self._denied or what
        raise MigrationRefused(what)

    def mark(self) -> None:
        """Mark the present transaction, to know it again."""
        if self._connection.dialect.name == "sqlite":
            if self.authorizer is None:
                self._execute(f"SAVEPOINT {_SAVEPOINT}")
        else:
            self._marker = self._execute("SELECT txid_current()")
            # Two statements of one transaction; with AUTOCOMMIT each has its own.
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
        except sqlite3.Error:  # the savepoint went with its transaction
            return False
        self._execute(f"SAVEPOINT {_SAVEPOINT}")
        return True

    def _goes_on_postgresql(self) -> bool:
        if self._is_lost():
            # Else SQLAlchemy would roll back on it, and that error would hide the first.
            self._connection.invalidate()
            return not self._was_committed()
        try:
            return bool(self._execute("SELECT txid_current()") == self._marker)
        except self._connection.dialect.loaded_dbapi.Error:
            # After an error PostgreSQL answers nothing more in its transaction, which may be ours
            # or one that was begun after a COMMIT.
            if self._connection.in_nested_transaction():
                return True  # the caller may go back to its savepoint, and a COMMIT had ended it
            self._connection.connection.rollback()
            return bool(self._execute(self._status) != ("committed",))

    def _is_lost(self) -> bool:
        """Return whether the connection has ended; SQLAlchemy knows only what it ran itself."""
        if self._connection.invalidated:
            return True
        driver = self._connection.connection.driver_connection
        return bool(driver is None or driver.closed)

    def _was_committed(self) -> bool:
        """Ask the server on another connection what became of a transaction that was lost."""
        # A pool of its own: the present one may have no second connection to give.
        pool = self._connection.engine.pool.recreate()
        try:
            with closing(pool.connect()) as other:
                cursor = other.cursor()
                cursor.execute(self._status)
                return bool(cursor.fetchone() == ("committed",))
        except self._connection.dialect.loaded_dbapi.Error:
            return False  # the server is gone too, and rolls back what no revision has committed
        finally:
            pool.dispose()

    @property
    def _status(self) -> str:
        return f"SELECT txid_status({int(self._marker[0])})"

    def _execute(self, statement: str) -> Any:  # noqa: ANN401 - whatever the statement gives
        # Not through SQLAlchemy, whose events lead here.
        cursor = self._connection.connection.cursor()
        try:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None
        finally:
            cursor.close()


def _authorize(connection: Connection) -> Authorizer | None:
    """Set an authorizer on the driver's connection, and return it; None if there cannot be one."""

    def set_authorizer(driver: Any) -> Authorizer | None:  # noqa: ANN401 - of any driver
        if not callable(getattr(driver, "set_authorizer", None)):
            return None
        authorizer = Authorizer(lambda: bool(driver.in_transaction))
        driver.set_authorizer(authorizer)
        return authorizer

    return on_driver(connection, set_authorizer)
