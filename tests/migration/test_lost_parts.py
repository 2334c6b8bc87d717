"""The parts that a table has lost, by its DDL before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, NullPool, create_engine

from shortsdb.migration.lost_parts import lost_parts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def connect(script: str) -> Connection:
    connection = create_engine("sqlite://", poolclass=NullPool).connect()
    for statement in script.split(";\n"):
        connection.exec_driver_sql(statement)
    return connection


def lost(
    before: str, after: str, renamed: Mapping[str, str] | None = None, dropped: Collection[str] = ()
) -> list[str]:
    """Return the parts that `after`, the DDL of the table New, lacks of `before`, that of Old."""
    with connect(before) as old, connect(after) as new:
        return lost_parts(old, new, ("Old", "New"), renamed or {}, dropped)


PARENT = "CREATE TABLE Parent (id INTEGER PRIMARY KEY);\n"
EVERYTHING = (
    PARENT
    + """CREATE TABLE {table} (
    id INTEGER PRIMARY KEY AUTOINCREMENT, {a} TEXT COLLATE NOCASE NOT NULL DEFAULT 'x',
    b INTEGER REFERENCES parent (id) ON UPDATE CASCADE ON DELETE SET NULL,
    UNIQUE (b, {a}), CHECK ({a} <> '')
);
CREATE INDEX some ON {table} (b) WHERE {a} > 'a';
CREATE TRIGGER watch AFTER DELETE ON {table} BEGIN SELECT 1; END;
INSERT INTO {table} ({a}) VALUES ('a'), ('b')"""
)


def test_nothing_is_lost_however_names_are_written() -> None:
    before = EVERYTHING.format(table="Old", a="a")
    assert lost(before, EVERYTHING.format(table="New", a="a")) == []
    assert lost(before, EVERYTHING.format(table="New", a="A").replace("parent", "PARENT")) == []
    assert lost(before.replace("OR a", "OR A"), EVERYTHING.format(table="New", a="a")) == []


def test_what_refers_to_a_renamed_column_is_not_lost() -> None:
    before, after = EVERYTHING.format(table="Old", a="A"), EVERYTHING.format(table="New", a="N")
    assert lost(before, after, {"a": "n"}) == []


def test_a_rename_is_followed_to_what_is_lost() -> None:
    before = EVERYTHING.format(table="Old", a="A")
    after = (
        f"{PARENT}CREATE TABLE New (id INTEGER PRIMARY KEY AUTOINCREMENT, n TEXT, b INTEGER);\n"
        "INSERT INTO New (n) VALUES ('a'), ('b')"
    )
    assert lost(before, after, {"a": "n"}) == [
        "the index some",
        "the trigger watch",
        "CHECK ( n < > '' )",
        "COLLATE nocase of a",
        "NOT NULL of A",
        "the DEFAULT of A",
        "UNIQUE (A, b)",
        "FOREIGN KEY (b) REFERENCES parent (id) ON UPDATE CASCADE ON DELETE SET NULL",
    ]


def test_what_refers_to_a_dropped_column_goes_with_it() -> None:
    before = EVERYTHING.format(table="Old", a="A").replace("CREATE TRIGGER", "--")
    after = """CREATE TABLE New (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    b INTEGER REFERENCES Parent (id) ON UPDATE CASCADE ON DELETE SET NULL
);
INSERT INTO New (b) VALUES (1), (2)"""
    assert lost(before, after) == []
    assert lost(before, after.replace("b ", "a ").replace("(b", "(a")) == [
        "CHECK ( a < > '' )",
        "COLLATE nocase of a",
        "NOT NULL of A",
        "the DEFAULT of A",
    ]


ONE_LOST = {
    "one of two CHECKs": (
        "CREATE TABLE Old (a, b, CHECK (a > 0), CHECK (b > 0))",
        "CREATE TABLE New (a, b, CHECK (b > 0))",
        "CHECK ( a > 0 )",
    ),
    "the order of a primary key": (
        "CREATE TABLE Old (a, b, PRIMARY KEY (a, b))",
        "CREATE TABLE New (a, b, PRIMARY KEY (b, a))",
        "its PRIMARY KEY (a, b)",
    ),
    "a primary key": (
        "CREATE TABLE Old (a INTEGER PRIMARY KEY)",
        "CREATE TABLE New (a INTEGER)",
        "its PRIMARY KEY (a)",
    ),
    "the numbering of rows": (
        "CREATE TABLE Old (a INTEGER PRIMARY KEY)",
        "CREATE TABLE New (a INT PRIMARY KEY)",
        "its PRIMARY KEY (a)",
    ),
    "another collation": (
        "CREATE TABLE Old (a COLLATE NOCASE, b COLLATE RTRIM)",
        "CREATE TABLE New (a COLLATE NOCASE, b COLLATE NOCASE)",
        "COLLATE rtrim of b",
    ),
    "an index on other columns": (
        "CREATE TABLE Old (a, b);\nCREATE INDEX i ON Old (a)",
        "CREATE TABLE New (a, b);\nCREATE INDEX i ON New (b)",
        "the index i",
    ),
    "a trigger whose table is written in another case": (
        "CREATE TABLE Old (a);\nCREATE TRIGGER t AFTER DELETE ON old BEGIN SELECT 1; END",
        "CREATE TABLE New (a)",
        "the trigger t",
    ),
    "an index that is a trigger now": (
        "CREATE TABLE Old (a);\nCREATE INDEX one ON Old (a)",
        "CREATE TABLE New (a);\nCREATE TRIGGER one AFTER DELETE ON New BEGIN SELECT 1; END",
        "the index one",
    ),
    "a wider UNIQUE": (
        "CREATE TABLE Old (a, b, UNIQUE (a))",
        "CREATE TABLE New (a, b, UNIQUE (a, b))",
        "UNIQUE (a)",
    ),
    "ON UPDATE": (
        f"{PARENT}CREATE TABLE Old (a REFERENCES Parent (id) ON UPDATE CASCADE)",
        f"{PARENT}CREATE TABLE New (a REFERENCES Parent (id))",
        "FOREIGN KEY (a) REFERENCES Parent (id) ON UPDATE CASCADE",
    ),
    "a key of another column": (
        f"{PARENT}CREATE TABLE Old (a REFERENCES Parent (id), b)",
        f"{PARENT}CREATE TABLE New (a, b REFERENCES Parent (id))",
        "FOREIGN KEY (a) REFERENCES Parent (id)",
    ),
    "a key to another table": (
        f"{PARENT}CREATE TABLE Old (a REFERENCES Parent (id))",
        f"{PARENT}CREATE TABLE New (a REFERENCES Other (id))",
        "FOREIGN KEY (a) REFERENCES Parent (id)",
    ),
    "the last number": (
        "CREATE TABLE Old (a INTEGER PRIMARY KEY AUTOINCREMENT);\nINSERT INTO Old VALUES (7)",
        "CREATE TABLE New (a INTEGER PRIMARY KEY AUTOINCREMENT);\nINSERT INTO New VALUES (6)",
        "the last number of AUTOINCREMENT (6 in sqlite_sequence, it was 7)",
    ),
    "every last number": (
        "CREATE TABLE Old (a INTEGER PRIMARY KEY AUTOINCREMENT);\nINSERT INTO Old VALUES (1)",
        "CREATE TABLE New (a INTEGER PRIMARY KEY AUTOINCREMENT)",
        "the last number of AUTOINCREMENT (0 in sqlite_sequence, it was 1)",
    ),
    "AUTOINCREMENT": (
        "CREATE TABLE Old (a INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE New (a INTEGER PRIMARY KEY)",
        "AUTOINCREMENT",
    ),
}


@pytest.mark.parametrize(("before", "after", "part"), ONE_LOST.values(), ids=ONE_LOST)
def test_one_part_is_lost(before: str, after: str, part: str) -> None:
    assert lost(before, after) == [part]


NONE_LOST = {
    "a DEFAULT and a NOT NULL more": (
        "CREATE TABLE Old (a)",
        "CREATE TABLE New (a NOT NULL DEFAULT 1)",
    ),
    "rows that are numbered now": (
        "CREATE TABLE Old (a INT PRIMARY KEY)",
        "CREATE TABLE New (a INTEGER PRIMARY KEY)",
    ),
    "a primary key where there was none": (
        "CREATE TABLE Old (a)",
        "CREATE TABLE New (a INTEGER PRIMARY KEY)",
    ),
    "a larger last number": (
        "CREATE TABLE Old (a INTEGER PRIMARY KEY AUTOINCREMENT);\nINSERT INTO Old VALUES (6)",
        "CREATE TABLE New (a INTEGER PRIMARY KEY AUTOINCREMENT);\nINSERT INTO New VALUES (7)",
    ),
    "a last number that only the new table has": (
        "CREATE TABLE Old (a INTEGER PRIMARY KEY)",
        "CREATE TABLE New (a INTEGER PRIMARY KEY AUTOINCREMENT)",
    ),
    "the order of the columns of a UNIQUE": (
        "CREATE TABLE Old (B, a, UNIQUE (B, a))",
        "CREATE TABLE New (b, A, UNIQUE (A, b))",
    ),
    "a UNIQUE index on an expression": (
        "CREATE TABLE Old (a);\nCREATE UNIQUE INDEX u ON Old (lower(a))",
        "CREATE TABLE New (a);\nCREATE UNIQUE INDEX u ON New (lower(a))",
    ),
    "keys of dropped columns": (
        f"{PARENT}CREATE TABLE Old (a, b REFERENCES Parent (id), c, PRIMARY KEY (b), UNIQUE (c))",
        f"{PARENT}CREATE TABLE New (a, PRIMARY KEY (a))",
    ),
    "what belongs to another table": (
        "CREATE TABLE Old (a);\nCREATE TABLE more (a CHECK (a > 0));\nCREATE INDEX i ON more (a)",
        "CREATE TABLE New (a)",
    ),
}


@pytest.mark.parametrize(("before", "after"), NONE_LOST.values(), ids=NONE_LOST)
def test_none_is_lost(before: str, after: str) -> None:
    assert lost(before, after) == []


def test_what_was_dropped_by_name_is_not_lost() -> None:
    before = EVERYTHING.format(table="Old", a="a")
    after = before.replace("Old", "New").replace("CREATE INDEX", "--").replace("CREATE TRIG", "--")
    assert lost(before, after, dropped={"some", "watch"}) == []
    assert lost(before, after, dropped={"some"}) == ["the trigger watch"]
