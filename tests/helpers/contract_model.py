"""The contract of `shortsdb.engine` as a model: what each session sees, and what is refused.

The database is a dict of committed rows. One party at most holds the write lock. A party is a
session or a connection. It knows the values of the rows when it read them, and its unflushed
changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

Row: TypeAlias = "dict[str, Any]"
Rows: TypeAlias = "dict[int, Row]"


class Refused(Exception):  # noqa: N818 - an outcome that the model predicts
    """A step is refused, and the party rolls back."""


class Waits(Refused):
    """Another party holds the write lock."""


class ReadOnly(Refused):
    """The party is read-only."""


class Duplicate(Refused):
    """A row with this primary key exists."""


class Stale(Refused):
    """Another party has changed values that this one would overwrite."""

    def __init__(self, columns: dict[int, set[str]]) -> None:
        """Keep the changed columns by primary key."""
        super().__init__(columns)
        self.columns = columns


@dataclass
class Database:
    """The committed rows, and the holder of the write lock."""

    committed: Rows
    holder: Party | None = None


@dataclass
class Party:
    """A session or a connection.

    Attributes:
        read_only: Whether the party cannot write and reads one snapshot.
        expires: Whether a commit expires loaded rows (sync sessions).
        began: Whether the party is in a transaction.
        explicit: Whether the transaction was begun explicitly.
        snapshot: The rows that a read-only party reads, from its first read on.
        own: The rows that the holder of the write lock reads and writes.
        savepoint: The rows at the last savepoint.
        seen: The values of the known rows when they were read, without expired ones.
        changes: The unflushed values.
        added: The unflushed new rows.
        deleted: The keys of rows whose delete is not flushed.
    """

    database: Database
    read_only: bool = False
    expires: bool = True
    began: bool = False
    explicit: bool = False
    snapshot: Rows | None = None
    own: Rows | None = None
    savepoint: Rows | None = None
    seen: Rows = field(default_factory=dict)
    changes: Rows = field(default_factory=dict)
    added: Rows = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)

    @property
    def rows(self) -> Rows:
        """The rows that the party would read now."""
        if self.own is not None:
            return self.own
        return self.database.committed if self.snapshot is None else self.snapshot

    def begin(self) -> None:
        """Begin explicitly. The lock is taken before the first statement."""
        self.began = self.explicit = True

    def read(self, key: int) -> Row | None:
        """Read a row, and return the values that the session then has."""
        self.flush()
        self._statement(writes=False)
        current = self.rows.get(key)
        if current is not None:
            # Such a session keeps loaded values until they expire.
            known = self.seen.get(key, {}) if self.expires else {}
            self.seen[key] = {**current, **known}
        return None if current is None else self.seen[key]

    def select(self) -> Rows:
        """Read all rows without the objects of the session."""
        self._statement(writes=False)
        return self.rows

    def change(self, key: int, column: str, value: object) -> None:
        """Assign to a column of a known row."""
        self.began = True
        changes = self.changes.setdefault(key, {})
        changes[column] = value
        if self.seen[key].get(column) == value:
            del changes[column]

    def add(self, key: int, row: Row) -> None:
        """Add a new row."""
        self.began = True
        self.added[key] = row

    def delete(self, key: int) -> None:
        """Delete a known row."""
        self.began = True
        self.changes.pop(key, None)
        self.deleted.add(key)

    def flush(self) -> None:
        """Write the changes, unless that would lose a commit of another party."""
        self.began = True
        changes = {key: columns for key, columns in self.changes.items() if columns}
        if changes or self.added or self.deleted:
            self._statement(writes=True)
            overwritten = {key: set(columns) for key, columns in changes.items()}
            # Deleting a deleted row does not conflict.
            overwritten |= {key: set(self.seen[key]) for key in self.deleted & self.rows.keys()}
            stale = {key: self._stale(key, columns) for key, columns in overwritten.items()}
            if any(stale.values()):
                raise Stale({key: columns for key, columns in stale.items() if columns})
            if self.added.keys() & self.rows.keys():
                raise Duplicate
            for key, columns in changes.items():
                self.rows[key] = self.rows[key] | columns
                self.seen[key] = self.seen[key] | columns
            for key, row in self.added.items():
                self.rows[key] = self.seen[key] = row
            for key in self.deleted:
                self.rows.pop(key, None)
                del self.seen[key]
        self._forget_changes()

    def increment(self, key: int, column: str) -> None:
        """Add one to a column by SQL, and expire loaded values."""
        self.flush()
        self._statement(writes=True)
        if key in self.rows:
            self.rows[key] = self.rows[key] | {column: self.rows[key][column] + 1}
        self._expire()

    def remove(self, key: int) -> None:
        """Delete a row by SQL, and expire loaded values."""
        self.flush()
        self._statement(writes=True)
        self.rows.pop(key, None)
        self._expire()

    def begin_savepoint(self) -> None:
        """Flush and take the lock, because a savepoint belongs to a transaction that may write."""
        self.flush()
        self._statement(writes=True)
        self.savepoint = dict(self.rows)

    def release_savepoint(self) -> None:
        """Flush, and keep the written rows."""
        self.flush()
        self.savepoint = None

    def rollback_savepoint(self) -> None:
        """Undo the writes since the savepoint, keep the lock, and forget loaded values."""
        self.own, self.savepoint = self.savepoint, None
        self._forget_changes()
        self.seen = {}

    def commit(self) -> None:
        """Flush, and make the writes visible to all parties."""
        self.flush()
        if self.own is not None:
            self.database.committed = self.own
        self._end()
        if self.expires:
            self._expire()

    def rollback(self) -> None:
        """Undo the writes, and forget loaded values."""
        self._end()
        self._forget_changes()
        self.seen = {}

    def _statement(self, *, writes: bool) -> None:
        self.began = True
        if self.read_only:
            if self.snapshot is None:
                self.snapshot = dict(self.database.committed)
            if writes:
                raise ReadOnly
        elif (writes or self.explicit) and self.own is None:
            if self.database.holder is not None:
                raise Waits
            self.database.holder = self
            self.own = dict(self.database.committed)

    def _stale(self, key: int, columns: set[str]) -> set[str]:
        """Return the columns whose values have changed since they were read."""
        read = {column: value for column, value in self.seen[key].items() if column in columns}
        if key not in self.rows:
            return set(read)
        return {column for column, value in read.items() if self.rows[key][column] != value}

    def _end(self) -> None:
        if self.database.holder is self:
            self.database.holder = None
        self.own = self.snapshot = self.savepoint = None
        self.began = self.explicit = False

    def _expire(self) -> None:
        self.seen = {key: {} for key in self.seen}

    def _forget_changes(self) -> None:
        self.changes, self.added, self.deleted = {}, {}, set()
