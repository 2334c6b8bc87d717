"""Keep the statements of migrations inside one transaction, and record the tables they modify.

SQLite calls the authorizer whenever it compiles a statement, see
https://sqlite.org/c3ref/set_authorizer.html. A connection has one authorizer at a time.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Settings that can break rollback, durability or consistency; see https://sqlite.org/pragma.html.
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
}


class Authorizer:
    """An authorizer for statements that must not end their transaction.

    Attributes:
        denied: The first statement that was denied, None if there was none.
        written: The names of the tables to which rows were written.
        dropped: The triggers and indexes that were dropped explicitly, not with their table.
    """

    def __init__(self, in_transaction: Callable[[], bool]) -> None:
        """Start with empty records.

        Args:
            in_transaction: Returns whether the connection is in a transaction. Some errors and
                INSERT OR ROLLBACK end it; each later statement would commit by itself.
        """
        self.denied: str | None = None
        self.written: set[str] = set()
        self.dropped: set[str] = set()
        self._in_transaction = in_transaction
        self._dropped_tables: set[str] = set()

    def forget(self) -> None:
        """Clear `written` and `dropped` before the next revision."""
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
        """Allow or deny one action, see `sqlite3.Connection.set_authorizer`."""
        refused = self._refusal(action, first, second)
        if refused:
            self.denied = self.denied or refused
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_ALTER_TABLE and database is not None:
            self.written.add(str(second))  # for DROP COLUMN, which rewrites the rows
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
            # DROP TABLE is reported before the drops of its triggers.
            action == sqlite3.SQLITE_DROP_TRIGGER and table not in self._dropped_tables
        ):
            self.dropped.add(name)
