"""Compare the rows of two SQLite tables by value, type and number of duplicates."""

from __future__ import annotations

import marshal
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shortsdb.sqlite.connection import values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from shortsdb.sqlite.connection import Connection

_AT_ONCE = 1000


def quote(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def same_rows(
    before: sqlite3.Connection,
    after: sqlite3.Connection,
    tables: tuple[str, str],
    columns: Sequence[tuple[str, str]],
) -> bool:
    """Return whether two tables hold the same rows, in any order.

    1, 1.0 and '1' are different values. Text is compared byte by byte, whatever its collation.
    Duplicate rows count.

    Args:
        before: The connection to the first table.
        after: The connection to the second table.
        tables: The names of both tables.
        columns: The columns to compare, as pairs of their names in both tables.
    """
    if count_rows(before, tables[0]) != count_rows(after, tables[1]):
        return False
    try:
        return _same_values(before, after, tables, columns, str)
    except sqlite3.OperationalError:
        # Text in SQLite need not be UTF-8. To read each byte as a character takes longer.
        return _same_values(before, after, tables, columns, lambda text: str(text, "latin-1"))


def _same_values(
    before: sqlite3.Connection,
    after: sqlite3.Connection,
    tables: tuple[str, str],
    columns: Sequence[tuple[str, str]],
    text_factory: Callable[[bytes], str],
) -> bool:
    with _text_read_by(before, text_factory), _text_read_by(after, text_factory):
        # Most copies have the rows in the original order, and sorting takes several times as long.
        return any(
            all(
                # Unlike ==, marshal distinguishes 1 from 1.0; version 2 depends only on the values.
                marshal.dumps(first, 2) == marshal.dumps(second, 2)
                for first, second in zip(
                    _batches(before, tables[0], [first for first, _ in columns], in_order=in_order),
                    _batches(
                        after, tables[1], [second for _, second in columns], in_order=in_order
                    ),
                    strict=True,
                )
            )
            for in_order in (False, True)
        )


@contextmanager
def _text_read_by(
    connection: sqlite3.Connection, text_factory: Callable[[bytes], str]
) -> Iterator[None]:
    previous = connection.text_factory
    connection.text_factory = text_factory
    try:
        yield
    finally:
        connection.text_factory = previous


def holds_values(connection: sqlite3.Connection, table: str, column: str) -> bool:
    """Return whether a column holds anything but NULL."""
    statement = f"SELECT EXISTS (SELECT 1 FROM {quote(table)} WHERE {quote(column)} IS NOT NULL)"  # noqa: S608 - quoted
    (found,) = connection.cursor().execute(statement).fetchone()
    return bool(found)


def holds_rows(connection: Connection, tables: Iterable[str]) -> bool:
    """Return whether any of these tables has a row; none of them is read further than that."""
    return any(values(connection, f"SELECT 1 FROM {quote(table)} LIMIT 1") for table in tables)  # noqa: S608 - quoted


def count_rows(connection: sqlite3.Connection, table: str) -> int:
    """Return the number of rows in a table."""
    statement = f"SELECT count(*) FROM {quote(table)}"  # noqa: S608 - quoted
    (count,) = connection.cursor().execute(statement).fetchone()
    return int(count)


def _batches(
    connection: sqlite3.Connection, table: str, columns: list[str], *, in_order: bool
) -> Iterator[list[tuple[object, ...]]]:
    # An expression has no declared type, for which the connection may have a converter.
    values = [f"+{quote(name)}" for name in columns]
    order = [f"{value} COLLATE BINARY, typeof({value})" for value in values]
    cursor = connection.cursor()
    cursor.row_factory = None
    cursor.execute(
        f"SELECT {', '.join(values) or '1'} FROM {quote(table)}"  # noqa: S608 - quoted
        + (f" ORDER BY {', '.join(order)}" if in_order and columns else "")
    )
    while rows := cursor.fetchmany(_AT_ONCE):
        yield rows
