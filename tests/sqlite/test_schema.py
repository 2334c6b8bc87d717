"""Schemas are read from SQLite and compared."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from shortsdb.sqlite.schema import (
    Column,
    ForeignKey,
    affinity,
    missing_indexes,
    nullable_columns,
    schema_mismatches,
    schema_of_script,
    table_names,
)

WANTED = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INTEGER)"


def test_columns_are_read_with_type_nullability_and_default() -> None:
    shape = schema_of_script(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a VARCHAR(9) NOT NULL DEFAULT 'x',"
        " b DEFAULT NULL, c REAL DEFAULT 0)"
    )["t"]
    assert shape.columns == {
        "id": Column("INTEGER", "INTEGER", not_null=False, has_default=False),
        "a": Column("VARCHAR(9)", "TEXT", not_null=True, has_default=True),
        "b": Column("", "BLOB", not_null=False, has_default=False),
        "c": Column("REAL", "REAL", not_null=False, has_default=True),
    }
    assert shape.primary_key == ("id",)
    assert shape.numbers_rows


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("BIGINT", "INTEGER"),
        ("CHARINT", "INTEGER"),  # INT takes precedence
        ("FLOATING POINT", "INTEGER"),
        ("clob", "TEXT"),
        ("BLOB", "BLOB"),
        ("", "BLOB"),
        ("DOUBLE", "REAL"),
        ("DATETIME", "NUMERIC"),
    ],
)
def test_affinity_follows_the_rules_of_sqlite(declared: str, expected: str) -> None:
    assert affinity(declared) == expected


@pytest.mark.parametrize(
    ("made", "phrases"),
    [
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b INTEGER DEFAULT 7)", []),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT 'x', b INTEGER)", []),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER NOT NULL DEFAULT 7)",
            ["column t.b is NOT NULL where NULL belongs"],
        ),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER, c DEFAULT 1)", []),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER, c NOT NULL DEFAULT 1)", []),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INTEGER, c NOT NULL)",
            ["column t.c must have a value, and the pipeline does not know it"],
        ),
        ("CREATE TABLE T (id INTEGER PRIMARY KEY, a TEXT, b INTEGER)", ["table t is missing"]),
    ],
)
def test_schema_mismatches_name_what_differs(made: str, phrases: list[str]) -> None:
    assert schema_mismatches(schema_of_script(WANTED), schema_of_script(made)) == phrases


def test_a_nullable_column_is_named_whether_it_has_a_default_or_not() -> None:
    for default in ("", " DEFAULT 'x'", " DEFAULT NULL"):
        made = schema_of_script(f"CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT{default}, b INT)")
        assert nullable_columns(schema_of_script(WANTED), made) == [("t", "a")]
    assert nullable_columns(schema_of_script(WANTED), schema_of_script(WANTED)) == []


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ("CREATE UNIQUE INDEX u ON t (b, a)", {("a", "b")}),
        ("CREATE UNIQUE INDEX u ON t (lower(a))", set()),
        ("CREATE UNIQUE INDEX u ON t (lower(a), b)", set()),
        ("CREATE UNIQUE INDEX u ON t (a) WHERE b > 1", set()),
        ("CREATE INDEX u ON t (a)", set()),
    ],
)
def test_partial_and_expression_indexes_do_not_count_as_unique(
    index: str, expected: set[tuple[str, ...]]
) -> None:
    assert schema_of_script(f"{WANTED}; {index}")["t"].unique == expected


def test_an_index_on_an_expression_does_not_replace_another() -> None:
    wanted = schema_of_script(f"{WANTED}; CREATE INDEX i ON t (a)")
    made = schema_of_script(f"{WANTED}; CREATE INDEX i ON t (lower(a))")
    assert missing_indexes(wanted, made) == ["i on t (a)"]
    assert missing_indexes(wanted, wanted) == []


def test_an_index_counts_by_its_columns_whatever_its_name() -> None:
    wanted = schema_of_script(f"{WANTED}; CREATE INDEX i ON t (a)")
    assert missing_indexes(wanted, schema_of_script(f"{WANTED}; CREATE INDEX j ON t (a)")) == []
    other = schema_of_script(f"{WANTED}; CREATE INDEX i ON t (b)")
    assert missing_indexes(wanted, other) == ["i on t (a)"]


def test_a_foreign_key_without_columns_means_the_primary_key() -> None:
    key = "FOREIGN KEY (x, y) REFERENCES {} ON UPDATE CASCADE ON DELETE SET NULL"
    tables = "CREATE TABLE p (b, a, PRIMARY KEY (a, b)); CREATE TABLE c (z INTEGER PRIMARY KEY)"
    for parent in ("p (a, b)", "p"):
        made = schema_of_script(
            f"{tables}; CREATE TABLE t (x, y, z REFERENCES c, {key.format(parent)})"
        )
        assert made["t"].foreign_keys == {
            ForeignKey(("x", "y"), "p", ("a", "b"), "CASCADE", "SET NULL"),
            ForeignKey(("z",), "c", ("z",), "NO ACTION", "NO ACTION"),
        }


def test_key_mismatches_name_what_differs() -> None:
    parents = "CREATE TABLE p (id INTEGER PRIMARY KEY);"
    wanted = "CREATE TABLE t (id INTEGER PRIMARY KEY, a {}, b {}, UNIQUE (b, a), UNIQUE (a))"
    wanted = parents + wanted.format("REFERENCES p", "REFERENCES p (id)")
    for made, phrases in (
        (wanted, []),
        (
            wanted.replace("id INTEGER PRIMARY KEY, a", "id INT PRIMARY KEY, a"),
            ["column t.id is not INTEGER PRIMARY KEY, so SQLite does not number new rows"],
        ),
        (
            wanted.replace("id INTEGER PRIMARY KEY, a", "id INTEGER, a"),
            ["table t has no PRIMARY KEY (id)"],
        ),
        (
            wanted.replace(", UNIQUE (b, a), UNIQUE (a)", ""),
            ["table t has no UNIQUE (a)", "table t has no UNIQUE (a, b)"],
        ),
        (
            wanted.replace("REFERENCES p (id)", "").replace("REFERENCES p", ""),
            [
                "table t has no FOREIGN KEY (a) REFERENCES p (id)",
                "table t has no FOREIGN KEY (b) REFERENCES p (id)",
            ],
        ),
    ):
        assert schema_mismatches(schema_of_script(wanted), schema_of_script(made)) == phrases


def test_keys_and_indexes_keep_the_order_of_their_columns() -> None:
    table = schema_of_script(
        "CREATE TABLE t (a, b, c, PRIMARY KEY (c, a), UNIQUE (b, a)); CREATE INDEX i ON t (b, a)"
    )["t"]
    assert table.primary_key == ("c", "a")
    assert not table.numbers_rows
    assert table.unique == {("a", "b"), ("a", "c")}  # in any order
    assert table.indexes == {"i": ("b", "a")}  # and none that SQLite has made


def test_tables_of_sqlite_and_names_that_are_not_text_are_left_out() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(
            "CREATE TABLE sqlites (id INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE other (x);"
            "PRAGMA writable_schema = ON;"
            "UPDATE sqlite_master SET name = x'6f74686572' WHERE name = 'other'"
        )
        assert table_names(connection) == ["sqlites"]


def test_tables_that_cannot_be_read_without_a_module_have_no_name() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript("CREATE TABLE t (a); CREATE VIRTUAL TABLE v USING fts5(a)")
        assert "v" not in table_names(connection)
        assert "t" in table_names(connection)


def test_a_key_may_be_not_null_where_nobody_says_so() -> None:
    made = schema_of_script("CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, a TEXT NOT NULL, b)")
    found = schema_mismatches(schema_of_script(WANTED), made)
    assert found == ["column t.b is without a type where INTEGER belongs"]


def test_a_foreign_key_is_spelled_as_ddl_does() -> None:
    key = ForeignKey(("a", "b"), "t", ("c", "d"), "NO ACTION", "NO ACTION")
    assert str(key) == "FOREIGN KEY (a, b) REFERENCES t (c, d)"
    key = ForeignKey(("a",), "t", ("c",), "CASCADE", "SET NULL")
    assert str(key) == "FOREIGN KEY (a) REFERENCES t (c) ON UPDATE CASCADE ON DELETE SET NULL"
