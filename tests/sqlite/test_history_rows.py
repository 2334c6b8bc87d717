"""The history is read only as shortsdb writes it, and tells changed revisions."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import astuple
from typing import TYPE_CHECKING

import pytest

from shortsdb.errors import OperationRefused
from shortsdb.sqlite.history import CREATE, Applied, changed_revisions, read_history

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW = [
    "2026-01-01T00:00:00Z",
    "upgrade",
    "0001",
    "0002",
    1.5,
    0.5,
    "1.0",
    "b.db",
    "c",
    '{"2": "x"}',
]
EMPTY = ["2026-01-02T00:00:00Z", "adoption", None, None, None, None, "1.0", None, None, "{}"]


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Return a connection to a database without a history."""
    with closing(sqlite3.connect(":memory:")) as connection:
        yield connection


def _insert(connection: sqlite3.Connection, number: int, row: list[object]) -> None:
    places = ", ".join("?" * (len(row) + 1))
    connection.execute(f"INSERT INTO shortsdb_history VALUES ({places})", (number, *row))


def test_rows_are_read_in_the_order_of_their_numbers(connection: sqlite3.Connection) -> None:
    assert read_history(connection) == []
    # Without the key rows are kept as they come, as PostgreSQL keeps them.
    connection.execute(CREATE.replace(" PRIMARY KEY", ""))
    connection.execute(CREATE)
    _insert(connection, 2, [*EMPTY])
    _insert(connection, 1, [*ROW])
    first, second = read_history(connection)
    assert list(astuple(first)) == [*ROW[:-1], {"2": "x"}]
    assert list(astuple(second)) == [*EMPTY[:-1], {}]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (0, b"2026"),
        (1, b"upgrade"),
        (0, None),
        (1, None),
        (2, b"\xff"),
        (4, "long"),
        (5, "long"),
        (8, b"c"),
        (9, None),
        (9, "[]"),
        (9, "no JSON"),
        (9, b"{}"),
        (9, "1"),
    ],
)
def test_a_row_of_somebody_else_is_refused(
    connection: sqlite3.Connection, column: int, value: object
) -> None:
    connection.execute(CREATE.replace(" NOT NULL", ""))  # somebody else's table too
    row: list[object] = [*ROW]
    row[column] = value
    _insert(connection, 1, row)
    message = f"holds a row that shortsdb has not written, of {row[0]!r}; correct"
    with pytest.raises(OperationRefused, match=re.escape(message)):
        read_history(connection)


def _applied(to: str | None, **checksums: str) -> Applied:
    names = {name.removeprefix("r"): checksum for name, checksum in checksums.items()}
    return Applied("", "upgrade", None, to, None, None, "", None, None, names)


def test_revisions_that_were_changed_after_they_were_applied() -> None:
    present = {"0001": "a", "0002": "b", "0003": "c"}
    history = [_applied("0003", r0001="a", r0002="old", r0003="old", r0000="gone")]
    assert changed_revisions(history, present) == ["0002", "0003"]
    history.append(_applied("0002"))
    assert changed_revisions(history, present) == ["0002"]
    history.append(_applied("0003", r0003="c"))
    assert changed_revisions(history, present) == ["0002"]
    history.append(_applied("0003", r0002="b"))
    assert changed_revisions(history, present) == []
    history += [_applied(None), _applied("0002", r0001="a", r0002="b")]
    assert changed_revisions(history, present) == []
