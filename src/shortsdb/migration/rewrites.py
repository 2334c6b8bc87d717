"""Watches which tables an upgrade rewrites in SQLite, and checks those before it commits.

Foreign keys are not enforced meanwhile. What is read grows with what the revisions touch.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import event

from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.shape import table_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

_WRITES = re.compile(
    r"""\s*(?P<verb>DROP\s+TABLE(\s+IF\s+EXISTS)?|DELETE\s+FROM|UPDATE(\s+OR\s+\w+)?
    |ALTER\s+TABLE(?=.*\sRENAME\s+TO\s)|(INSERT(\s+OR\s+\w+)?|REPLACE)\s+INTO)
    \s+("(?P<quoted>[^"]+)"|(?P<plain>\w+))""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass
class _Before:
    """What a table was before the first statement that wrote to it."""

    violations: Counter[str]  # by the table that they point to
    rows: int | None = None  # before it was dropped to be built again


class Rewrites:
    """The tables that were there and have been written to since."""

    def __init__(self, connection: Connection, version_table: str) -> None:
        """Watch nothing yet; see `watched`."""
        self.connection = connection
        self.tables = set(table_names(connection)) - {version_table}
        self._before: dict[str, _Before] = {}

    def note(self, statement: str) -> None:
        """Take down what a table is that `statement` is about to write to."""
        match = _WRITES.match(statement)
        table = match and (match["quoted"] or match["plain"])
        if not match or table not in self.tables:
            return
        for affected in (table, *self._referring(table)):
            if affected not in self._before:
                self._before[affected] = _Before(self._violations(affected))
        if match["verb"].upper().startswith(("DROP", "ALTER")):
            self._before[table].rows = self._count(table)

    def check(self, name: str) -> None:
        """Compare all tables written to with what they were.

        Args:
            name: What to call the database.

        Raises:
            MigrationRefused: A rebuilt table has another number of rows, or a foreign key points
                nowhere that did not before.
        """
        there = set(table_names(self.connection))
        for table, before in self._before.items():
            if table not in there:
                continue
            rows = self._count(table)
            if before.rows is not None and before.rows != rows:
                raise MigrationRefused(
                    f"{name}: the upgrade would leave {table} with {rows} rows of {before.rows}; "
                    "nothing was changed. A revision is at fault, report it"
                )
            for parent, broken in (self._violations(table) - before.violations).items():
                raise MigrationRefused(
                    f"{name}: the upgrade would leave {broken} more rows of {table} pointing to "
                    f"rows of {parent} that are not there; nothing was changed. A revision is at "
                    "fault, report it"
                )

    def _count(self, table: str) -> int:
        quoted = self.connection.dialect.identifier_preparer.quote_identifier(table)
        counted = self.connection.exec_driver_sql(f"SELECT count(*) FROM {quoted}")  # noqa: S608 - quoted
        return int(counted.scalar_one())

    def _violations(self, table: str) -> Counter[str]:
        return Counter(
            self.connection.exec_driver_sql(
                "SELECT parent FROM pragma_foreign_key_check(?)", (table,)
            ).scalars()
        )

    def _referring(self, table: str) -> list[str]:
        return list(
            self.connection.exec_driver_sql(
                "SELECT DISTINCT m.name FROM sqlite_master m, pragma_foreign_key_list(m.name) f"
                " WHERE m.type = 'table' AND m.rootpage <> 0 AND f.\"table\" = ?",
                (table,),
            ).scalars()
        )


@contextmanager
def watched(connection: Connection, version_table: str) -> Iterator[Rewrites]:
    """Watch what is written to the tables of `connection` until the end of the block."""
    rewrites = Rewrites(connection, version_table)

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        rewrites.note(statement)

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield rewrites
    finally:
        event.remove(connection, "before_cursor_execute", note)
