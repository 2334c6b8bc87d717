"""Statements take the write lock first unless they are known to only read."""

import pytest

from shortsdb.engine.statements import is_pragma, may_lock_rows, may_write


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        "  select 1",
        "-- UPDATE\nSELECT 1",
        "/* DELETE */ -- x\n (SELECT 1)",
        "/* of\ntwo lines */ SELECT 1",
        "VALUES (1)",
        "TABLE t",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "EXPLAIN SELECT 1",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA user_version",
        "BEGIN",
        "start transaction",
        "COMMIT",
        "END",
        "ABORT",
        "ROLLBACK TO here",
        "VACUUM",
        "ATTACH 'x' AS y",
        "DETACH y",
        "SHOW lock_timeout",
        "SET x = 1",
        "RESET x",
    ],
)
def test_statements_without_a_lock(statement: str) -> None:
    assert not may_write(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES (1)",
        "replace into t values (1)",
        "/* SELECT */ UPDATE t SET x = 1",
        "/* SELECT\n*/--SELECT\nDELETE FROM t",
        "/*/ SELECT */ DELETE FROM t",
        "/* */ ; SELECT */ DELETE FROM t",
        "\ufeffUPDATE t SET x = 1",
        "with x as (select 1) update t set x = 1",
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "EXPLAIN ANALYZE UPDATE t SET x = 1",
        "EXPLAIN ANALYZE\nREPLACE INTO t VALUES (1)",
        "WITH x AS (SELECT 1) MERGE INTO t USING x ON true WHEN MATCHED THEN DO NOTHING",
        "PRAGMA main.user_version = 7",
        "PRAGMA Application_Id(7)",
        "PRAGMA schema_version\n= 7",
        "CREATE TABLE t (x)",
        "SAVEPOINT here",
        "REINDEX",
        "ANALYZE",
        "DO $$ BEGIN DELETE FROM t; END $$",
        "COPY t FROM STDIN",
        "LOCK TABLE t",
        "CALL something()",
        "",
        "; UPDATE t SET x = 1",
        "/* unfinished",
    ],
)
def test_statements_that_take_the_lock_first(statement: str) -> None:
    assert may_write(statement)


@pytest.mark.parametrize(
    "clause",
    [
        "FOR UPDATE",
        "for no key update",
        "FOR\nSHARE",
        "FOR KEY  SHARE OF t",
        "INTO made",
    ],
)
def test_a_select_that_locks_rows_or_makes_a_table(clause: str) -> None:
    assert may_lock_rows(f"SELECT * FROM t {clause}")


@pytest.mark.parametrize("text", ["SELECT 1", "SELECT fortune, intonation, put_into FROM updates"])
def test_a_select_that_only_reads(text: str) -> None:
    assert not may_lock_rows(text)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [("PRAGMA x = 1", True), ("/* */ pragma x(1)", True), ("SELECT 1", False), ("VACUUM", False)],
)
def test_pragmas(statement: str, *, expected: bool) -> None:
    assert is_pragma(statement) is expected
