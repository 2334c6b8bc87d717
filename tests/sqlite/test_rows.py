"""Rows are compared by value, type and number of duplicates."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from shortsdb.sqlite.rows import _batches, count_rows, holds_rows, holds_values, same_rows


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


def test_rows_in_another_order_are_sorted_by_bytes() -> None:
    assert same(["a", "A", b"a", "1", 1, 1.0], [1.0, b"a", "A", 1, "a", "1"])


def test_rows_of_a_connection_whose_rows_have_names() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        connection.executescript("CREATE TABLE t AS SELECT 1 AS x; CREATE TABLE u AS SELECT 2 AS x")
        assert same_rows(connection, connection, ("t", "t"), [("x", "x")])
        assert not same_rows(connection, connection, ("t", "u"), [("x", "x")])
        assert (count_rows(connection, "t"), holds_values(connection, "t", "x")) == (1, True)
        assert connection.row_factory is sqlite3.Row


def test_a_connection_keeps_its_text_factory_and_uses_no_converter() -> None:
    sqlite3.register_converter("unreadable", int)
    connect = sqlite3.connect(":memory:", detect_types=sqlite3.PARSE_DECLTYPES)
    with closing(connect) as connection:
        connection.execute("CREATE TABLE t (x unreadable)")
        connection.execute("INSERT INTO t VALUES ('no number')")
        connection.text_factory = bytes
        assert same_rows(connection, connection, ("t", "t"), [("x", "x")])
        assert connection.text_factory is bytes


def test_large_tables_are_read_in_parts() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", ((n,) for n in range(2500)))
        parts = list(_batches(connection, "t", ["x"], in_order=True))
    assert [len(part) for part in parts] == [1000, 1000, 500]


def test_several_columns_and_none() -> None:
    with closing(sqlite3.connect(":memory:")) as one:
        one.executescript(
            "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 2), (1, 3), (0, '2');"
            "CREATE TABLE u (b, a); INSERT INTO u VALUES (3, 1), ('2', 0), (2, 1);"
            "CREATE TABLE v (b, a); INSERT INTO v VALUES (3, 1), (2, 0), ('2', 1)"
        )
        columns = [("a", "a"), ("b", "b")]
        assert same_rows(one, one, ("t", "u"), columns)
        assert not same_rows(one, one, ("t", "v"), columns)
        assert same_rows(one, one, ("t", "v"), columns[:1])
        assert same_rows(one, one, ("t", "v"), [])
        one.execute("DELETE FROM v WHERE a = 0")
        assert not same_rows(one, one, ("t", "v"), [])


def test_text_need_not_be_utf_8() -> None:
    with closing(sqlite3.connect(":memory:")) as one:
        one.execute("CREATE TABLE t (x)")
        one.execute("CREATE TABLE u (x)")
        one.execute("INSERT INTO t VALUES (CAST(x'ff' AS TEXT))")
        one.execute("INSERT INTO u VALUES (CAST(x'fe' AS TEXT))")
        assert same_rows(one, one, ("t", "t"), [("x", "x")])
        assert not same_rows(one, one, ("t", "u"), [("x", "x")])


def test_both_connections_are_read_alike_whatever_they_make_of_text() -> None:
    with (
        closing(sqlite3.connect(":memory:")) as one,
        closing(sqlite3.connect(":memory:")) as other,
    ):
        for value in ("'a'", "CAST(x'ff' AS TEXT)"):
            for connection in (one, other):
                connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
                connection.execute(f"INSERT INTO t VALUES ({value})")
            for factory in (str, bytes):
                one.text_factory = factory
                assert same_rows(one, other, ("t", "t"), [("x", "x")])
                assert same_rows(other, one, ("t", "t"), [("x", "x")])
                assert (one.text_factory, other.text_factory) == (factory, str)


def test_rows_are_counted_and_looked_for() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(
            'CREATE TABLE empty (a); CREATE TABLE "a ""b" (a); INSERT INTO "a ""b" VALUES (1), (2)'
        )
        assert [count_rows(connection, table) for table in ("empty", 'a "b')] == [0, 2]
        assert not holds_rows(connection, [])
        assert not holds_rows(connection, ["empty"])
        assert holds_rows(connection, ["empty", 'a "b'])


def test_a_column_of_nulls_holds_no_values() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES (NULL, 0)")
        assert not holds_values(connection, "t", "a")
        assert holds_values(connection, "t", "b")
