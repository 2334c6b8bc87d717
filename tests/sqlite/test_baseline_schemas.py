"""An unversioned database is recognised by its tables, or refused by a message that says why."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from shortsdb.errors import OperationRefused
from shortsdb.sqlite.baseline import recognise, refuse_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

A = "CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT NOT NULL);"
B = "CREATE TABLE b (id INTEGER PRIMARY KEY);"
BASELINES = {"0": "", "1": A, "2": A + B}
OTHER = "CREATE TABLE other (x);"
BOOKKEEPING = "CREATE TABLE version (x); CREATE TABLE shortsdb_history (x);"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Return an empty database."""
    with closing(sqlite3.connect(":memory:")) as connection:
        yield connection


def at(connection: sqlite3.Connection, baselines: dict[str, str] = BASELINES) -> str | None:
    return recognise(connection, baselines, "version", "d.db")


@pytest.mark.parametrize(
    ("script", "expected"),
    [("", None), (BOOKKEEPING, None), (A, "1"), (A + B, "2"), (A + OTHER + BOOKKEEPING, "1")],
)
def test_the_schema_that_the_tables_have(
    connection: sqlite3.Connection, script: str, expected: str | None
) -> None:
    connection.executescript(script)
    assert at(connection) == expected


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            A.replace("x TEXT NOT NULL", "y TEXT"),
            "d.db has no version and does not fit the schema that its tables suggest (revision 1)",
        ),
        (
            B + OTHER,
            "(revision 2): table a is missing. It holds tables of other software: other. Check",
        ),
        (
            A.replace(" NOT NULL", "") + "INSERT INTO a (id) VALUES (1), (2)",
            "(revision 1): column a.x may be NULL where NOT NULL belongs, and is in 2 rows. Check",
        ),
        (
            A + "CREATE VIEW b AS SELECT 1",
            "(revision 1): the name b is that of a view. Check",
        ),
        ("CREATE TABLE _alembic_tmp_a (x)", "d.db holds _alembic_tmp_a: the rebuild of a table by"),
    ],
)
def test_tables_that_fit_no_schema(
    connection: sqlite3.Connection, script: str, message: str
) -> None:
    connection.executescript(script)
    with pytest.raises(OperationRefused, match=re.escape(message)):
        at(connection)


def test_tables_that_no_schema_contains_or_several_fit(connection: sqlite3.Connection) -> None:
    connection.executescript(A + "CREATE TABLE c (x);")
    expected = "no known schema contains all of its tables (a, c); nothing was changed"
    with pytest.raises(OperationRefused, match=re.escape(expected)):
        at(connection, {"1": A, "2": "CREATE TABLE c (x);"})
    with pytest.raises(OperationRefused, match="its tables fit the revisions 1, 2 equally"):
        at(connection, {"1": A, "2": A})


def test_of_several_schemas_the_one_that_asks_for_most(connection: sqlite3.Connection) -> None:
    connection.executescript(A)
    less = A.replace(" NOT NULL", "")
    assert at(connection, {"less": less, "more": A}) == "more"
    assert at(connection, {"more": A, "less": less}) == "more"


def test_a_null_where_a_schema_allows_it(connection: sqlite3.Connection) -> None:
    connection.executescript(A.replace(" NOT NULL", "") + "INSERT INTO a (id) VALUES (1)")
    assert at(connection, {"1": A.replace(" NOT NULL", ""), "2": A}) == "1"
    connection.execute("UPDATE a SET x = ''")
    assert at(connection, {"2": A}) == "2"


def test_leftovers_and_damaged_names_are_refused(connection: sqlite3.Connection) -> None:
    connection.executescript(A)
    refuse_leftovers(connection, "d.db")
    connection.executescript("CREATE TABLE _alembic_tmp_a (x); CREATE TABLE _alembic_tmp_b (x)")
    expected = (
        "d.db holds _alembic_tmp_a, _alembic_tmp_b: the rebuild of a table by another tool was "
        "interrupted. Nothing was changed. Compare with a, b: keep"
    )
    with pytest.raises(OperationRefused, match=re.escape(expected)):
        refuse_leftovers(connection, "d.db")
    connection.executescript(
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET name = x'61' WHERE name = 'a'"
    )
    with pytest.raises(OperationRefused, match=r"d\.db .* whose name is b'a', not text"):
        refuse_leftovers(connection, "d.db")
