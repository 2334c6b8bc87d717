"""Statements take the write lock first unless they are known to only read."""

import pytest

from shortsdb.engine.statements import may_write


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        "  select 1",
        "-- UPDATE\nSELECT 1",
        "/* DELETE */ -- x\n (SELECT 1)",
        "VALUES (1)",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "EXPLAIN SELECT 1",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA user_version",
        "BEGIN",
        "COMMIT",
        "ROLLBACK TO here",
        "VACUUM",
        "ATTACH 'x' AS y",
        "DETACH y",
        "SHOW lock_timeout",
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
        "PRAGMA main.user_version = 7",
        "PRAGMA application_id(7)",
        "CREATE TABLE t (x)",
        "SAVEPOINT here",
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
