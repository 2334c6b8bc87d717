"""Each difference between a database and the models is one sentence."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from inspect_sqlite import execute
from sqlalchemy import (
    Column,
    DefaultClause,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from shortsdb.migration import alembic_config, find_drift, read_only_connection
from shortsdb.migration.drift import _sentences
from shortsdb.target import Target

if TYPE_CHECKING:
    from pathlib import Path

METADATA = MetaData()
OTHER = Table("other", METADATA, Column("id", Integer, primary_key=True))
TABLE = Table("t", METADATA, Column("a", Integer), Column("b", Text), Column("c", Integer))
KEY = ForeignKeyConstraint(["c"], ["other.id"])
UNIQUE = UniqueConstraint("a", "b")
TABLE.append_constraint(KEY)
TABLE.append_constraint(UNIQUE)


@pytest.mark.parametrize(
    ("diff", "sentences"),
    [
        (("add_table", TABLE), ["table t is missing"]),
        (("add_column", None, "t", TABLE.c.b), ["column t.b (TEXT) is missing"]),
        (("add_index", Index("i", TABLE.c.a, TABLE.c.b)), ["index i on t (a, b) is missing"]),
        (("add_index", Index("u", TABLE.c.a, unique=True)), ["unique index u on t (a) is missing"]),
        (("add_constraint", UNIQUE), ["the unique constraint on t (a, b) is missing"]),
        (("add_fk", KEY), ["the foreign key of t (c) to other is missing"]),
        (("remove_table", "x"), ["remove_table x"]),
        (
            [
                ("modify_nullable", None, "t", "a", {}, True, False),
                ("modify_nullable", None, "t", "b", {}, False, True),
                ("modify_type", None, "t", "a", {}, Text(), Integer()),
                ("modify_default", None, "t", "a", {}, None, DefaultClause("1")),
                ("modify_default", None, "t", "a", {}, DefaultClause("1"), None),
            ],
            [
                "column t.a is NULL where the models say NOT NULL",
                "column t.b is NOT NULL where the models say NULL",
                "column t.a is TEXT where the models say INTEGER",
                "column t.a has the default none where the models say 1",
                "column t.a has the default 1 where the models say none",
            ],
        ),
    ],
)
def test_sentences(diff: Any, sentences: list[str]) -> None:  # noqa: ANN401 - as Alembic makes them
    assert list(_sentences(diff)) == sentences


def test_a_database_is_compared_and_nothing_is_printed(head_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    path.write_bytes(head_file.read_bytes())
    missing = ["table error_logs is missing", "column analytics.like_count (INTEGER) is missing"]
    for change, sentences in (
        ("SELECT 1", []),
        ("DROP TABLE error_logs; ALTER TABLE analytics DROP COLUMN like_count", missing),
    ):
        execute(path, change)
        with read_only_connection(Target.parse(str(path))) as connection:
            config = alembic_config()
            config.stdout = printed = StringIO()
            assert find_drift(config, connection) == sentences
            assert printed.getvalue() == ""
