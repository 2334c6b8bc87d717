"""The parts of a table's definition are read from its SQL, however that is written."""

from __future__ import annotations

import pytest

from shortsdb.sqlite.definitions import (
    check_clauses,
    collations,
    index_definition,
    table_options,
)


@pytest.mark.parametrize(
    ("written", "otherwise"),
    [
        ("a CHECK (a > 0)", '"A" check(\n"a">0 /* a comment ) */ ) -- another )'),
        ("CHECK (a IN (1, (2)))", "check (`a` in (1,(2)))"),
        ("CHECK ([a] = 'X''Y')", "CHECK(a='X''Y')"),
    ],
)
def test_the_same_conditions(written: str, otherwise: str) -> None:
    found = check_clauses(f"CREATE TABLE t ({written}, b)", {})
    assert sum(found.values()) == 1
    assert found == check_clauses(f"CREATE TABLE t ({otherwise}, b)", {})


@pytest.mark.parametrize(
    ("written", "otherwise"),
    [
        ("CHECK (a > 0)", "CHECK (a >= 0)"),
        ("CHECK (a = 'x')", "CHECK (a = 'X')"),
        ("CHECK (a = 'x')", "CHECK (a = x)"),
        ("CHECK (a > 0)", "CHECK (a > 0), CHECK (a > 0)"),
        ("CHECK (a > 0)", "CHECK (a > 0), CHECK (b > 0)"),
    ],
)
def test_other_conditions(written: str, otherwise: str) -> None:
    found = check_clauses(f"CREATE TABLE t (a, {written})", {})
    assert found != check_clauses(f"CREATE TABLE t (a, {otherwise})", {})


def test_conditions_are_tokens_and_follow_renamed_columns() -> None:
    sql = "CREATE TABLE t (a, b CHECK ((b) < 'a'), CHECK (a OR (b)), \"check\" (1))"
    assert check_clauses(sql, {"a": "c"}) == {
        ("(", "(", "b", ")", "<", "'a'", ")"): 1,
        ("(", "c", "or", "(", "b", ")", ")"): 1,
    }
    assert not check_clauses("CREATE TABLE t (a 'CHECK', check)", {})


def test_collations() -> None:
    sql = """CREATE TABLE t (
        A TEXT COLLATE NOCASE, b TEXT, "c" DEFAULT (1, 2 COLLATE x) COLLATE "RTrim",
        'd' CHECK (e COLLATE binary), [collate] TEXT, "constraint" COLLATE y,
        CONSTRAINT n UNIQUE (a COLLATE z), PRIMARY KEY (b), CHECK (a COLLATE u)
    )"""
    assert collations(sql) == {"a": "nocase", "c": "rtrim", "constraint": "y"}


@pytest.mark.parametrize(
    ("sql", "options"),
    [
        ("CREATE TABLE t (a)", set()),
        ("CREATE TABLE t (a INTEGER PRIMARY KEY autoincrement)", {"AUTOINCREMENT"}),
        ('CREATE TABLE t (a "autoincrement")', set()),
        ("CREATE TABLE t (a) STRICT", {"STRICT"}),
        ("CREATE TABLE t (strict, rowid)", set()),
        ("CREATE TABLE t (a (1)) without ROWID, strict", {"WITHOUT ROWID", "STRICT"}),
        ("CREATE VIEW v AS SELECT 1", set()),
        ("strict none", {"STRICT"}),
    ],
)
def test_table_options(sql: str, options: set[str]) -> None:
    assert table_options(sql) == options


def test_an_index_is_its_columns_and_its_condition() -> None:
    sql = "CREATE UNIQUE INDEX i ON \"T\" (A ASC, b DESC) WHERE a > ('asc')"
    expected = ("(", "c", ",", "b", "desc", ")", "where", "c", ">", "(", "'asc'", ")")
    assert index_definition(sql, {"a": "c"}) == expected
    assert index_definition('CREATE INDEX i ON t ("asc")', {}) == ("(", "asc", ")")
