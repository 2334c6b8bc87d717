"""Checks that a revision loses nothing of the tables that were there before it, on SQLite.

A table is read only if the revision has written to it or rebuilt it. Its rows are then compared
with those of before, by content. Foreign keys are not enforced meanwhile, so they are checked too.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from shortsdb.log import get_logger
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.lost_parts import lost_parts
from shortsdb.migration.transaction import on_driver
from shortsdb.sqlite.rows import holds_values, same_rows
from shortsdb.sqlite.schema import table_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from shortsdb.sqlite.authorizer import Authorizer
    from shortsdb.target import Target

log = get_logger(__name__)

# Bytes of the header of a database file that say whether it is in WAL mode; see
# https://sqlite.org/fileformat2.html. One in memory cannot be.
_JOURNAL_BYTES = slice(18, 20)


class RebuildChecks:
    """What the tables were before a revision, and what is compared with it afterwards."""

    def __init__(
        self, connection: Connection, version_table: str, target: Target, file: Path | None
    ) -> None:
        """Take down which tables there are.

        Args:
            connection: The database, in the transaction of the revisions.
            version_table: Alembic's own, which is not checked.
            target: The database.
            file: What others see of the database as it was before this transaction. None for one
                in memory, or if the transaction is the caller's, who may have changed something:
                then a copy in memory is made.
        """
        self.connection = connection
        self.version_table = version_table
        self.target = target
        self._file = file
        self._copy: bytes | None = None
        # What the revisions of this transaction have dropped on purpose until now.
        self._dropped: set[str] = set()
        self._lost: dict[str, set[str]] = {}
        self._roots: dict[str, int] = {}
        self.begin_revision(changed=file is None)

    def begin_revision(self, *, changed: bool = False) -> None:
        """Take down which tables there are before the next revision.

        Args:
            changed: Whether the rows, too, are others than what the file shows to others.
        """
        self._roots = self._read_roots()
        if changed and self._roots:
            self._copy = on_driver(self.connection, lambda driver: driver.serialize())

    def check(
        self,
        revision: str,
        authorizer: Authorizer | None,
        *,
        changes: Mapping[str, str],
        drops: Mapping[str, str],
        upgrades: bool,
    ) -> set[str]:
        """Compare the tables that a revision wrote to with what they were.

        Args:
            revision: Its id.
            authorizer: What has seen its statements; without one, every table is compared.
            changes: The tables whose rows it means to change, with the reason.
            drops: The tables that it means to lose a trigger, index or constraint, likewise.
            upgrades: A downgrade may drop tables and columns: that is what it is for.

        Returns:
            The tables whose rows it was allowed to change.

        Raises:
            MigrationRefused: It would lose or change what it does not declare.
        """
        roots = self._read_roots()
        after = {table.lower(): table for table in roots}
        rebuilt = {
            table
            for table, root in self._roots.items()
            if authorizer is None or table in authorizer.written or roots.get(table) != root
        }
        if not rebuilt:
            return set()
        if authorizer is not None:
            self._dropped |= authorizer.dropped
        with self._before() as (engine_connection, before):
            # An earlier revision of this transaction may have made a table: it was not there.
            there = {table.lower(): table for table in table_names(before)}
            for table in sorted(there[name.lower()] for name in rebuilt if name.lower() in there):
                now = after.get(table.lower())
                renamed: dict[str, str] = {}
                if table not in changes:
                    renamed = self._check_rows(revision, before, table, now, upgrades=upgrades)
                if now is None:
                    continue
                lost_before = self._lost.setdefault(table, set())
                lost = [
                    part
                    for part in lost_parts(
                        engine_connection, self.connection, (table, now), renamed, self._dropped
                    )
                    if part not in lost_before
                ]
                lost_before.update(lost)
                if lost and table not in drops and not upgrades:
                    log.warning("%s: %s loses %s", self.target, table, ", ".join(lost))
                elif lost and table not in drops:
                    raise MigrationRefused(
                        f"{self.target}: revision {revision} would leave {table} without "
                        f"{', '.join(lost)}; nothing was changed. What you have added yourself, "
                        "drop before the upgrade and make again after it; for anything else, "
                        "report the revision, which does not declare it (drops)"
                    )
            self._check_keys(revision, engine_connection, rebuilt)
        return rebuilt.intersection(changes)

    def _read_roots(self) -> dict[str, int]:
        rows = self.connection.exec_driver_sql(
            "SELECT name, rootpage FROM sqlite_master WHERE type = 'table' AND rootpage <> 0"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        ).all()
        return {table: root for table, root in rows if table != self.version_table}

    @contextmanager
    def _before(self) -> Iterator[tuple[Connection, sqlite3.Connection]]:
        """Give the database as it was, as a connection of SQLAlchemy's and as the driver's."""
        if self._copy is not None:
            before = sqlite3.connect(":memory:", check_same_thread=False)
            content = bytearray(self._copy)
            content[_JOURNAL_BYTES] = b"\x01\x01"
            before.deserialize(bytes(content))
        else:
            assert self._file is not None  # noqa: S101 - else there is a copy
            # The transaction has the write lock, so nobody has changed anything since, and nothing
            # of it is in the file before its commit.
            before = sqlite3.connect(
                f"{self._file.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
        with closing(before):
            engine = create_engine("sqlite://", creator=lambda: before, poolclass=StaticPool)
            try:
                with engine.connect() as connection:
                    yield connection, before
            finally:
                engine.dispose()

    def _check_rows(
        self,
        revision: str,
        before: sqlite3.Connection,
        table: str,
        now: str | None,
        *,
        upgrades: bool,
    ) -> dict[str, str]:
        """Refuse lost or changed rows, and return which columns have another name now."""
        if now is None:
            if upgrades and self._rows(before, table):
                raise self._undeclared(revision, table, f"drop {table} with the rows in it")
            return {}
        old = self._columns(before, table)
        new = on_driver(self.connection, lambda driver: self._columns(driver, now))
        names = {column.lower(): column for column in new}
        pairs = [(column, names.pop(column.lower())) for column in old if column.lower() in names]
        kept = {column for column, _ in pairs}
        # A downgrade may drop columns. An empty one holds nothing to be lost.
        lost = [
            column
            for column in old
            if column not in kept and upgrades and holds_values(before, table, column)
        ]
        # Renamed, if a new column holds the same.
        renamed = list(zip(lost, names.values(), strict=False))

        def same(columns: list[tuple[str, str]]) -> bool:
            return on_driver(
                self.connection, lambda driver: same_rows(before, driver, (table, now), columns)
            )

        if len(renamed) == len(lost) and same(pairs + renamed):
            return {column.lower(): name.lower() for column, name in renamed}
        if lost and same(pairs):
            raise self._undeclared(
                revision, table, f"drop {table}.{lost[-1]} with the values in it"
            )
        counts = (
            self._rows(before, table),
            on_driver(self.connection, lambda driver: self._rows(driver, now)),
        )
        what = f"leave {table} with other rows than before ({counts[1]}, it had {counts[0]})"
        raise self._undeclared(revision, table, what)

    def _undeclared(self, revision: str, table: str, what: str) -> MigrationRefused:
        return MigrationRefused(
            f"{self.target}: revision {revision} would {what}; nothing was changed. It does not "
            f'declare that (changes_rows = {{"{table}": "why"}}): report it'
        )

    def _check_keys(self, revision: str, before: Connection, rebuilt: Collection[str]) -> None:
        there = set(table_names(self.connection.connection))
        affected = {*rebuilt, *(_referring(self.connection, rebuilt))} & there & self._roots.keys()
        for table in sorted(affected):
            more = _violations(self.connection, table)
            if table in table_names(before.connection):
                more -= _violations(before, table)
            for parent, broken in more.items():
                raise MigrationRefused(
                    f"{self.target}: revision {revision} would leave {broken} more rows of {table} "
                    f"pointing to rows of {parent} that are not there; nothing was changed. The "
                    "revision is at fault, report it"
                )

    @staticmethod
    def _columns(connection: Any, table: str) -> list[str]:  # noqa: ANN401 - of any driver
        cursor = connection.cursor()
        cursor.row_factory = None
        # With generated columns (2 and 3), without those that are a virtual table's own (1).
        rows = cursor.execute(
            "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", (table,)
        ).fetchall()
        return [name for (name,) in rows]

    @staticmethod
    def _rows(connection: Any, table: str) -> int:  # noqa: ANN401 - as above
        quoted = '"' + table.replace('"', '""') + '"'
        counted = connection.cursor().execute(f"SELECT count(*) FROM {quoted}")  # noqa: S608 - quoted
        return int(counted.fetchone()[0])


def _violations(connection: Connection, table: str) -> Counter[str]:
    return Counter(
        connection.exec_driver_sql(
            "SELECT parent FROM pragma_foreign_key_check(?)", (table,)
        ).scalars()
    )


def _referring(connection: Connection, tables: Collection[str]) -> set[str]:
    rows = connection.exec_driver_sql(
        'SELECT m.name, f."table" FROM sqlite_master m, pragma_foreign_key_list(m.name) f'
        " WHERE m.type = 'table' AND m.rootpage <> 0"
    ).all()
    wanted = {table.lower() for table in tables}
    return {name for name, parent in rows if parent.lower() in wanted}
