"""The contract of `shortsdb.engine` as a model: what each session sees, and what is refused.

The database is a dict of committed rows, and the write lock is held by one party or by nobody. A
party is a session or a connection. It has its own view of the rows that it read, with their values
at that time, and changes that it has not flushed yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

Row: TypeAlias = "dict[str, Any]"
Rows: TypeAlias = "dict[int, Row]"


class Refused(Exception):  # noqa: N818 - an outcome that the model predicts
    """A step is refused. The party then rolls back."""


class Waits(Refused):
    """Another party holds the write lock."""


class ReadOnly(Refused):
    """The party may only read."""


class Duplicate(Refused):
    """A row with this primary key exists."""


class Stale(Refused):
    """Others have changed what the party is about to overwrite: columns by primary key."""

    def __init__(self, columns: dict[int, set[str]]) -> None:
        """Name the columns."""
        super().__init__(columns)
        self.columns = columns


@dataclass
class Database:
    """The committed rows, and who holds the write lock."""

    committed: Rows
    holder: Party | None = None


@dataclass
class Party:
    """A session or a connection.

    Attributes:
        read_only: It cannot write, and reads one snapshot.
        expires: A commit expires what it has read (sync sessions).
        began: Whether it is in a transaction.
        explicit: Whether that was begun explicitly.
        snapshot: What a read-only party reads, from its first read on.
        own: What the holder of the write lock reads and writes.
        savepoint: What its last savepoint goes back to.
        seen: The values that it read, of the rows that it knows. Expired ones are missing.
        changes: Values that are not flushed.
        added: Rows that are not flushed.
        deleted: Rows whose delete is not flushed.
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
        """What it would read now."""
        if self.own is not None:
            return self.own
        return self.database.committed if self.snapshot is None else self.snapshot

    def begin(self) -> None:
        """Begin explicitly. The lock is taken before the first statement."""
        self.began = self.explicit = True

    def read(self, key: int) -> Row | None:
        """Read a row, and return what the session now says of it."""
        self.flush()
        self._statement(writes=False)
        current = self.rows.get(key)
        if current is not None:
            # A session whose rows expire keeps the values that it has until they do.
            known = self.seen.get(key, {}) if self.expires else {}
            self.seen[key] = {**current, **known}
        return None if current is None else self.seen[key]

    def select(self) -> Rows:
        """Read all rows past the objects of the session."""
        self._statement(writes=False)
        return self.rows

    def change(self, key: int, column: str, value: object) -> None:
        """Assign to a column of a row whose values it knows."""
        self.began = True
        changes = self.changes.setdefault(key, {})
        changes[column] = value
        if self.seen[key].get(column) == value:
            del changes[column]

    def add(self, key: int, row: Row) -> None:
        """Add a row that it does not know."""
        self.began = True
        self.added[key] = row

    def delete(self, key: int) -> None:
        """Delete a row that it knows."""
        self.began = True
        self.changes.pop(key, None)
        self.deleted.add(key)

    def flush(self) -> None:
        """Write what was changed, unless that would lose what others have committed."""
        self.began = True
        changes = {key: columns for key, columns in self.changes.items() if columns}
        if changes or self.added or self.deleted:
            self._statement(writes=True)
            overwritten = {key: set(columns) for key, columns in changes.items()}
            # A row that is deleted twice is no conflict.
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
        """Add one to a column by a statement of SQL, and expire what was read."""
        self.flush()
        self._statement(writes=True)
        if key in self.rows:
            self.rows[key] = self.rows[key] | {column: self.rows[key][column] + 1}
        self._expire()

    def remove(self, key: int) -> None:
        """Delete a row by a statement of SQL, and expire what was read."""
        self.flush()
        self._statement(writes=True)
        self.rows.pop(key, None)
        self._expire()

    def begin_savepoint(self) -> None:
        """Flush, and take the lock: a savepoint is part of a transaction that may write."""
        self.flush()
        self._statement(writes=True)
        self.savepoint = dict(self.rows)

    def release_savepoint(self) -> None:
        """Flush, and keep what was written."""
        self.flush()
        self.savepoint = None

    def rollback_savepoint(self) -> None:
        """Undo what was written since, keep the lock, and forget what was read."""
        self.own, self.savepoint = self.savepoint, None
        self._forget_changes()
        self.seen = {}

    def commit(self) -> None:
        """Flush, and let everybody see what was written."""
        self.flush()
        if self.own is not None:
            self.database.committed = self.own
        self._end()
        if self.expires:
            self._expire()

    def rollback(self) -> None:
        """Undo what was written, and forget what was read."""
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
        """Return which columns, of those whose value was read, do not hold it any more."""
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
