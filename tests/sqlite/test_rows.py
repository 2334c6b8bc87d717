"""Rows are compared by value, type and number of duplicates."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from shortsdb.sqlite.rows import holds_values, same_rows


def same(first: list[object], second: list[object]) -> bool:
    """Compare two tables with these values in their only column."""
    with (
        closing(sqlite3.connect(":memory:")) as before,
        closing(sqlite3.connect(":memory:")) as after,
    ):
        for connection, name, values in ((before, "one", first), (after, "two", second)):
            connection.execute(f"CREATE TABLE {name} (x COLLATE NOCASE)")
            connection.executemany(f"INSERT INTO {name} VALUES (?)", [(value,) for value in values])
        return same_rows(before, after, ("one", "two"), [("x", "x")])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1], [1.0]),
        ([1], ["1"]),
        (["1"], [b"1"]),
        (["a"], ["A"]),
        (["a"], ["a "]),
        ([""], [None]),
        ([2**62], [float(2**62)]),
        (["x\0y"], ["x"]),
        ([1, 1], [1]),
        ([1, 1, 2], [1, 2, 2]),
        ([0.0], [None]),
        ([1], []),
    ],
)
def test_different_values_are_distinguished(first: list[object], second: list[object]) -> None:
    assert not same(first, second)
    assert not same(second, first)
    assert same(first, list(reversed(first)))


def test_comparison_of_several_batches() -> None:
    assert same(list(range(2500)), list(range(2499, -1, -1)))
    assert not same(list(range(2500)), [*range(2499), 0])


def test_text_need_not_be_utf_8() -> None:
    with closing(sqlite3.connect(":memory:")) as one:
        one.execute("CREATE TABLE t (x)")
        one.execute("CREATE TABLE u (x)")
        one.execute("INSERT INTO t VALUES (CAST(x'ff' AS TEXT))")
        one.execute("INSERT INTO u VALUES (CAST(x'fe' AS TEXT))")
        assert same_rows(one, one, ("t", "t"), [("x", "x")])
        assert not same_rows(one, one, ("t", "u"), [("x", "x")])


def test_a_column_of_nulls_holds_no_values() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES (NULL, 0)")
        assert not holds_values(connection, "t", "a")
        assert holds_values(connection, "t", "b")
