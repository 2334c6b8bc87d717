"""What the authorizer of an upgrade denies, and what it records."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from shortsdb.sqlite.authorizer import Authorizer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Return a connection in a transaction, with two tables, a view of a table and a trigger."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(
            "CREATE TABLE t (a, b); CREATE TABLE u (a); CREATE INDEX t_a ON t (a);"
            "CREATE INDEX u_a ON u (a); CREATE TRIGGER t_insert AFTER INSERT ON t BEGIN"
            " INSERT INTO u VALUES (new.a); END;"
            "CREATE TRIGGER u_insert AFTER INSERT ON u BEGIN SELECT 1; END; BEGIN"
        )
        yield connection


@pytest.fixture
def authorizer(connection: sqlite3.Connection) -> Authorizer:
    authorizer = Authorizer(lambda: connection.in_transaction)
    connection.set_authorizer(authorizer)
    return authorizer


@pytest.mark.parametrize(
    ("statement", "denied"),
    [
        ("COMMIT", "COMMIT"),
        ("ROLLBACK", "ROLLBACK"),
        ("BEGIN", "BEGIN"),
        ("ATTACH ':memory:' AS other", "ATTACH"),
        ("DETACH main", "DETACH"),
        ("PRAGMA cache_spill = OFF", "PRAGMA cache_spill"),
        ("PRAGMA ignore_check_constraints = ON", "PRAGMA ignore_check_constraints"),
        ("PRAGMA Journal_Mode = OFF", "PRAGMA journal_mode"),
        ("PRAGMA main.locking_mode = NORMAL", "PRAGMA locking_mode"),
        ("PRAGMA schema_version = 7", "PRAGMA schema_version"),
        ("PRAGMA synchronous = OFF", "PRAGMA synchronous"),
        ("PRAGMA writable_schema = ON", "PRAGMA writable_schema"),
    ],
)
def test_what_would_end_or_weaken_the_transaction_is_denied(
    connection: sqlite3.Connection, authorizer: Authorizer, statement: str, denied: str
) -> None:
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        connection.execute(statement)
    assert authorizer.denied == denied
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        connection.execute("COMMIT")
    assert authorizer.denied == denied  # the first one


@pytest.mark.parametrize(
    "statement",
    [
        "SAVEPOINT s",
        "PRAGMA journal_mode",
        "PRAGMA cache_spill",
        "PRAGMA user_version = 7",
        "PRAGMA table_info(t)",
        "SELECT * FROM t",
    ],
)
def test_what_does_not_is_allowed(
    connection: sqlite3.Connection, authorizer: Authorizer, statement: str
) -> None:
    connection.execute(statement)
    assert authorizer.denied is None
    assert not authorizer.written | authorizer.dropped


def test_nothing_is_allowed_once_the_transaction_has_ended(
    connection: sqlite3.Connection, authorizer: Authorizer
) -> None:
    connection.set_authorizer(None)
    connection.execute("ROLLBACK")
    connection.set_authorizer(authorizer)
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        connection.execute("SELECT 1")
    assert authorizer.denied == "a statement after the end of the transaction"


@pytest.mark.parametrize(
    ("statement", "written", "dropped"),
    [
        ("INSERT INTO u VALUES (1)", {"u"}, set()),
        ("INSERT INTO t VALUES (1, 2)", {"t", "u"}, set()),
        ("UPDATE t SET a = 1", {"t"}, set()),
        ("DELETE FROM u WHERE a = 1", {"u"}, set()),
        ("ALTER TABLE t DROP COLUMN b", {"t"}, set()),
        ("DROP INDEX t_a", set(), {"t_a"}),
        ("DROP TRIGGER t_insert", set(), {"t_insert"}),
        ("CREATE TEMP TABLE other (a)", set(), set()),
    ],
)
def test_what_is_recorded(
    connection: sqlite3.Connection,
    authorizer: Authorizer,
    statement: str,
    written: set[str],
    dropped: set[str],
) -> None:
    connection.execute(statement)
    assert authorizer.written - {"sqlite_master"} == written
    assert authorizer.dropped == dropped


def test_what_goes_with_its_table_is_not_dropped_by_itself(
    connection: sqlite3.Connection, authorizer: Authorizer
) -> None:
    connection.execute("DROP TABLE u")
    assert "u" in authorizer.written
    assert authorizer.dropped == set()
    connection.execute("DROP TRIGGER t_insert")
    assert authorizer.dropped == {"t_insert"}
    authorizer.forget()
    assert authorizer.written == authorizer.dropped == set()
    connection.execute("CREATE TABLE u (a)")
    connection.execute("CREATE TRIGGER u_again AFTER INSERT ON u BEGIN SELECT 1; END")
    connection.execute("DROP TRIGGER u_again")
    assert authorizer.dropped == {"u_again"}
