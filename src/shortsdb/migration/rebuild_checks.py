"""Check on SQLite that a migration loses nothing from existing tables.

A table is read only if the migration has written to it or rebuilt it. Its rows are then compared by
content with the rows before. Foreign keys are checked too, as they are not enforced during an
upgrade.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine

from shortsdb.log import get_logger
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.lost_parts import lost_parts
from shortsdb.migration.transaction import on_driver
from shortsdb.sqlite.rows import count_rows, holds_values, same_rows
from shortsdb.sqlite.schema import table_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from shortsdb.sqlite.authorizer import Authorizer
    from shortsdb.target import Target

log = get_logger(__name__)

# The bytes of a database header that hold the journal mode, see
# https://sqlite.org/fileformat2.html. A database in memory cannot be in WAL mode.
_JOURNAL_BYTES = slice(18, 20)


class RebuildChecks:
    """Compares the tables before and after each migration."""

    def __init__(
        self, connection: Connection, version_table: str, target: Target, file: Path | None
    ) -> None:
        """Record the tables before the first migration.

        Args:
            connection: The database, in the transaction of the upgrade.
            version_table: Alembic's version table, which is not checked.
            target: The database.
            file: The file, through which the state before the transaction can be read. None for a
                database in memory, or if the transaction belongs to the caller, who may have made
                changes; then a copy in memory is compared instead.
        """
        self.connection = connection
        self.version_table = version_table
        self.target = target
        self._file = file
        self._copy: bytes | None = None
        # The triggers and indexes that migrations of this transaction have dropped on purpose.
        self._dropped: set[str] = set()
        self._lost: dict[str, set[str]] = {}
        self._roots: dict[str, int] = {}
        self.begin_revision(changed=file is None)

    def begin_revision(self, *, changed: bool = False) -> None:
        """Record the tables before the next migration.

        Args:
            changed: Whether rows differ from the state in the file, so that a copy is needed.
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
        """Compare the tables that a migration modified with their state before it.

        Args:
            revision: The id of the migration.
            authorizer: The authorizer that recorded its statements; None compares every table.
            changes: The tables whose rows the migration declares to change, with the reason.
            drops: The tables declared to lose a trigger, index or constraint, with the reason.
            upgrades: Whether this is an upgrade; a downgrade may drop tables and columns.

        Returns:
            The tables whose rows were changed as declared.

        Raises:
            MigrationRefused: The migration would lose or change something that it does not declare.
        """
        roots = self._read_roots()
        after = {table.lower(): table for table in roots}
        rebuilt = {
            table
            for table, root in self._roots.items()
            if authorizer is None or table in authorizer.written or roots.get(table) != root
        }
        if authorizer is not None:
            self._dropped |= authorizer.dropped
        if not rebuilt:
            return set()
        with self._before() as (engine_connection, before):
            # Skip tables that an earlier migration of this transaction has created.
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
                        f"{', '.join(lost)}; nothing was changed. If you have added these "
                        "yourself, drop them before the upgrade and create them again after it; "
                        "otherwise report the revision, which does not declare the loss (drops)"
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
        """Yield a SQLAlchemy and a driver connection to the state before the migration."""
        if self._copy is not None:
            before = sqlite3.connect(":memory:", check_same_thread=False)
            content = bytearray(self._copy)
            content[_JOURNAL_BYTES] = b"\x01\x01"
            before.deserialize(bytes(content))
        else:
            assert self._file is not None  # noqa: S101 - otherwise there is a copy
            # The transaction has the write lock, so the file does not change before its commit.
            before = sqlite3.connect(
                f"{self._file.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
        with (
            closing(before),
            create_engine("sqlite://", creator=lambda: before).connect() as connection,
        ):
            yield connection, before

    def _check_rows(
        self,
        revision: str,
        before: sqlite3.Connection,
        table: str,
        now: str | None,
        *,
        upgrades: bool,
    ) -> dict[str, str]:
        """Refuse lost or changed rows, and return the new names of renamed columns by old name."""
        if now is None:
            if upgrades and count_rows(before, table):
                raise self._undeclared(revision, table, f"drop {table} with the rows in it")
            return {}
        old = self._columns(before, table)
        new = on_driver(self.connection, lambda driver: self._columns(driver, now))
        names = {column.lower(): column for column in new}
        pairs = [(column, names.pop(column.lower())) for column in old if column.lower() in names]
        kept = {column for column, _ in pairs}
        # A downgrade may drop columns, and dropping an empty column loses nothing.
        lost = [
            column
            for column in old
            if column not in kept and upgrades and holds_values(before, table, column)
        ]
        # A column counts as renamed if a new column holds the same values.
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
            count_rows(before, table),
            on_driver(self.connection, lambda driver: count_rows(driver, now)),
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
            if more and table in table_names(before.connection):
                more -= _violations(before, table)
            for parent, broken in more.items():
                raise MigrationRefused(
                    f"{self.target}: revision {revision} would leave {broken} more rows of {table} "
                    f"pointing to rows of {parent} that are not there; nothing was changed. The "
                    "revision is at fault, report it"
                )

    @staticmethod
    def _columns(connection: Any, table: str) -> list[str]:  # noqa: ANN401 - of any driver
        # Includes generated columns (2 and 3), but not the hidden columns of virtual tables (1).
        query = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1"
        return [name for (name,) in connection.cursor().execute(query, (table,))]


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
