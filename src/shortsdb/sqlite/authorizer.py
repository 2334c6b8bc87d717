"""Keeps other people's statements inside one transaction, and records which tables they write to.

SQLite asks an authorizer before it compiles any statement, whoever sends it and however it is
spelled, see https://sqlite.org/c3ref/set_authorizer.html. A connection has one at a time.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Settings without which a transaction cannot be rolled back, made durable or trusted, see
# https://sqlite.org/pragma.html. Reading them is allowed.
_PRAGMAS = {
    "cache_spill",
    "ignore_check_constraints",
    "journal_mode",
    "locking_mode",
    "schema_version",
    "synchronous",
    "writable_schema",
}
_WRITES = {
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_DELETE,
    sqlite3.SQLITE_DROP_TABLE,
}


class Authorizer:
    """An authorizer for statements that must not end the transaction that they run in.

    Attributes:
        denied: The first statement that was not allowed, None if all were.
        written: The tables of the database that rows were written to, by the names in the schema.
        dropped: The triggers and indexes that were dropped by name, and not with their table.
    """

    def __init__(self, in_transaction: Callable[[], bool]) -> None:
        """Allow nothing yet to be forgotten.

        Args:
            in_transaction: Whether the connection is in a transaction. Some errors end one, and
                so does INSERT OR ROLLBACK; each statement after it would commit by itself.
        """
        self.denied: str | None = None
        self.written: set[str] = set()
        self.dropped: set[str] = set()
        self._in_transaction = in_transaction
        self._dropped_tables: set[str] = set()

    def forget(self) -> None:
        """Forget what was written to and dropped, before the next revision."""
        self.written.clear()
        self.dropped.clear()
        self._dropped_tables.clear()

    def __call__(
        self,
        action: int,
        first: str | None,
        second: str | None,
        database: str | None,
        _trigger: str | None,
    ) -> int:
        """Decide about one part of a statement, as sqlite3.Connection.set_authorizer asks."""
        refused = self._refusal(action, first, second)
        if refused:
            self.denied = self.denied or refused
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_ALTER_TABLE and database is not None:
            self.written.add(str(second))  # DROP COLUMN; adding and renaming name no column
        elif database == "main" and first is not None:
            self._record(action, first, second)
        return sqlite3.SQLITE_OK

    def _refusal(self, action: int, first: str | None, second: str | None) -> str | None:
        if action == sqlite3.SQLITE_TRANSACTION:
            return str(first)
        if not self._in_transaction():
            return "a statement after the end of the transaction"
        if action in {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}:
            return "ATTACH" if action == sqlite3.SQLITE_ATTACH else "DETACH"
        if (
            action == sqlite3.SQLITE_PRAGMA
            and second is not None
            and str(first).lower() in _PRAGMAS
        ):
            return f"PRAGMA {str(first).lower()}"
        return None

    def _record(self, action: int, name: str, table: str | None) -> None:
        if action in _WRITES:
            self.written.add(name)
        if action == sqlite3.SQLITE_DROP_TABLE:
            self._dropped_tables.add(name)
        elif action == sqlite3.SQLITE_DROP_INDEX or (
            # Dropping a table asks for its triggers too, after asking for the table.
            action == sqlite3.SQLITE_DROP_TRIGGER and table not in self._dropped_tables
        ):
            self.dropped.add(name)
