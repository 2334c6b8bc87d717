"""Find violated foreign keys in SQLite databases."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shortsdb.log import get_logger
from shortsdb.printable import VALUE_LENGTH, printable
from shortsdb.sqlite.connection import rows, values
from shortsdb.sqlite.schema import table_names

if TYPE_CHECKING:
    from shortsdb.sqlite.connection import Connection

log = get_logger(__name__)


@dataclass(frozen=True)
class BrokenKey:
    """A violated foreign key and the number of rows that violate it."""

    table: str
    columns: str
    referred_table: str
    rows: int

    def __str__(self) -> str:
        """Return a sentence that is safe to print, whatever the tables are called."""
        table, referred = (
            printable(name, VALUE_LENGTH) for name in (self.table, self.referred_table)
        )
        return f"{self.rows} rows of {table} point to rows of {referred} that are not there"


def broken_keys(connection: Connection) -> list[BrokenKey]:
    """Return the violated foreign keys of a SQLite database; deployed code enforces none."""
    return [key for table in table_names(connection) for key in _broken_keys(connection, table)]


def _broken_keys(connection: Connection, table: str) -> list[BrokenKey]:
    try:
        found = rows(
            connection,
            "SELECT parent, fkid, count(*) FROM pragma_foreign_key_check(?) GROUP BY 1, 2"
            " ORDER BY 2",
            table,
        )
    except sqlite3.Error as error:  # a table of other software refers to a column without a key
        log.warning("the foreign keys of %s cannot be checked: %s", table, error)
        return []
    columns = 'SELECT "from" FROM pragma_foreign_key_list(?) WHERE id = ? ORDER BY seq'
    return [
        BrokenKey(table, ", ".join(values(connection, columns, table, number)), parent, count)
        for parent, number, count in found
    ]
