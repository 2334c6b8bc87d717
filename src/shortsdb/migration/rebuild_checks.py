"""Checks that a revision loses nothing of the tables that were there before it, on SQLite.

A table is read only if the revision has written to it or made it anew. Its rows are then compared
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
from shortsdb.migration.transaction import on_driver
from shortsdb.sqlite.definitions import check_clauses, numbers_without_reuse
from shortsdb.sqlite.rows import holds_values, same_rows
from shortsdb.sqlite.schema import read_schema, table_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from shortsdb.sqlite.authorizer import Authorizer

log = get_logger(__name__)

# Bytes of the header of a database file that say whether it is in WAL mode; see
# https://sqlite.org/fileformat2.html. One in memory cannot be.
_JOURNAL_BYTES = slice(18, 20)


class RebuildChecks:
    """What the tables were before a revision, and what is compared with it afterwards."""

    def __init__(
        self, connection: Connection, version_table: str, name: str, file: Path | None
    ) -> None:
        """Take down which tables there are.

        Args:
            connection: The database, in the transaction of the revisions.
            version_table: Alembic's own, which is not checked.
            name: What to call the database.
            file: What others see of the database as it was before this transaction. None for one
                in memory, or if the transaction is the caller's, who may have changed something:
                then a copy in memory is made.
        """
        self.connection = connection
        self.version_table = version_table
        self.name = name
        self._file = file
        self._copy: bytes | None = None
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
        after = {table.lower(): table for table in self._read_roots()}
        rebuilt = {
            table
            for table, root in self._roots.items()
            if authorizer is None
            or table in authorizer.written
            or self._read_roots().get(table) != root
        }
        if not rebuilt:
            return set()
        with self._before() as (engine_connection, before):
            for table in sorted(rebuilt):
                now = after.get(table.lower())
                if table not in changes:
                    self._check_rows(revision, before, table, now, upgrades=upgrades)
                if now is None:
                    continue
                lost = self._lost(engine_connection, table, now, authorizer)
                if lost and table not in drops and not upgrades:
                    log.warning("%s: %s loses %s", self.name, table, ", ".join(lost))
                elif lost and table not in drops:
                    raise MigrationRefused(
                        f"{self.name}: revision {revision} would leave {table} without "
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
    ) -> None:
        if now is None:
            if upgrades and self._rows(before, table):
                self._refuse_change(revision, table, f"drop {table} with the rows in it")
            return
        old = self._columns(before, table)
        new = on_driver(self.connection, lambda driver: self._columns(driver, now))
        names = {column.lower(): column for column in new}
        pairs = [(column, names[column.lower()]) for column in old if column.lower() in names]
        lost = [column for column in old if column.lower() not in names]
        if lost and len(old) == len(new):
            # Renamed, if what is in its place was not there before.
            known = {column.lower() for column in old}
            in_place = dict(zip(old, new, strict=True))
            renamed = [(one, in_place[one]) for one in lost if in_place[one].lower() not in known]
            pairs += renamed
            lost = [column for column in lost if (column, in_place[column]) not in renamed]
        for column in lost if upgrades else ():
            if holds_values(before, table, column):
                what = f"drop {table}.{column} with the values in it"
                self._refuse_change(revision, table, what)
        if not on_driver(
            self.connection, lambda driver: same_rows(before, driver, (table, now), pairs)
        ):
            counts = (
                self._rows(before, table),
                on_driver(self.connection, lambda driver: self._rows(driver, now)),
            )
            what = f"leave {table} with other rows than before ({counts[1]}, it had {counts[0]})"
            self._refuse_change(revision, table, what)

    def _refuse_change(self, revision: str, table: str, what: str) -> None:
        raise MigrationRefused(
            f"{self.name}: revision {revision} would {what}; nothing was changed. It does not "
            f'declare that (changes_rows = {{"{table}": "why"}}): report it'
        )

    def _lost(
        self, before: Connection, table: str, now: str, authorizer: Authorizer | None
    ) -> list[str]:
        """Return what belonged to a table and does not any more, as phrases."""
        old = read_schema(before.connection, [table])[table]
        new = read_schema(self.connection.connection, [now])[now]
        kept = authorizer.dropped if authorizer else set()
        lost = [
            f"the {kind} {name}"
            for (kind, name), what in _parts(before, table).items()
            if _parts(self.connection, now).get((kind, name)) != what and name not in kept
        ]
        if old.primary_key != new.primary_key or (old.numbers_rows and not new.numbers_rows):
            lost.append(f"its PRIMARY KEY ({', '.join(old.primary_key)})")
        lost += [f"UNIQUE ({', '.join(columns)})" for columns in sorted(old.unique - new.unique)]
        lost += sorted(map(str, old.foreign_keys - new.foreign_keys))
        old_sql, new_sql = _sql(before, table), _sql(self.connection, now)
        lost += [f"CHECK {clause}" for clause in check_clauses(old_sql) - check_clauses(new_sql)]
        if numbers_without_reuse(old_sql) and not numbers_without_reuse(new_sql):
            lost.append("AUTOINCREMENT")
        return lost

    def _check_keys(self, revision: str, before: Connection, rebuilt: Collection[str]) -> None:
        there = set(table_names(self.connection.connection))
        affected = {*rebuilt, *(_referring(self.connection, rebuilt))} & there & self._roots.keys()
        for table in sorted(affected):
            more = _violations(self.connection, table) - _violations(before, table)
            for parent, broken in more.items():
                raise MigrationRefused(
                    f"{self.name}: revision {revision} would leave {broken} more rows of {table} "
                    f"pointing to rows of {parent} that are not there; nothing was changed. The "
                    "revision is at fault, report it"
                )

    @staticmethod
    def _columns(connection: Any, table: str) -> list[str]:  # noqa: ANN401 - of any driver
        cursor = connection.cursor()
        cursor.row_factory = None
        rows = cursor.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
        return [name for (name,) in rows]

    @staticmethod
    def _rows(connection: Any, table: str) -> int:  # noqa: ANN401 - as above
        quoted = '"' + table.replace('"', '""') + '"'
        counted = connection.cursor().execute(f"SELECT count(*) FROM {quoted}")  # noqa: S608 - quoted
        return int(counted.fetchone()[0])


def _parts(connection: Connection, table: str) -> dict[tuple[str, str], object]:
    """Return the triggers and indexes of a table; of an index also what it is on."""
    triggers = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE",
        (table,),
    ).scalars()
    parts: dict[tuple[str, str], object] = {("trigger", name): True for name in triggers}
    indexes = connection.exec_driver_sql(
        "SELECT name, \"unique\", partial FROM pragma_index_list(?) WHERE origin = 'c'", (table,)
    ).all()
    for name, unique, partial in indexes:
        columns = connection.exec_driver_sql(
            "SELECT name FROM pragma_index_info(?) ORDER BY seqno", (name,)
        ).scalars()
        parts["index", name] = (unique, partial, tuple(columns))
    return parts


def _sql(connection: Connection, table: str) -> str:
    return str(
        connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        ).scalar_one()
    )


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
