"""The golden DDL files equal the schemas of the migrations and of the models."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import golden
import legacy_database
from sqlalchemy import create_engine

from shortsdb.migration.baselines import BASELINES
from shortsdb.models import Base

if TYPE_CHECKING:
    from postgresql_server import Server


STALE = (
    "the schema differs from the golden one; if that is meant, run `make generate` and commit it"
)


def test_golden_ddl() -> None:
    held = {file: file.read_text(encoding="utf-8") for file in golden.BASELINES.glob("*.sql")}
    assert held == golden.golden(), STALE


def test_golden_ddl_of_a_postgresql_server(postgres: Server) -> None:
    assert golden.POSTGRESQL.read_text(encoding="utf-8") == golden.postgresql_ddl(postgres), STALE


def test_revision_0001_is_the_deployed_schema_byte_for_byte() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(legacy_database.SCHEMA)
    statements = connection.execute(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    ).fetchall()
    connection.close()
    assert BASELINES["0001"] == "".join(f"{sql};\n" for (sql,) in statements)


def test_revisions_and_models_build_the_same_new_tables() -> None:
    """This includes differences missed by autogenerate: server defaults, names, removed columns."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        Base.metadata.create_all(connection)
        by_models = set(
            connection.exec_driver_sql(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name"
                " NOT IN ('discovered_videos', 'pipeline_runs', 'clips')"
            ).scalars()
        )
    engine.dispose()
    by_revisions = set(golden.sqlite_ddl("head").split(";\n")) - {""}
    by_revisions -= set(golden.sqlite_ddl("0001").split(";\n"))
    built, modelled = dict(map(parts, by_revisions)), dict(map(parts, by_models))
    assert built.keys() == modelled.keys()
    for head, found in built.items():
        assert found >= modelled[head]
        # A release stops using a column before the next drops it, and has to insert rows meanwhile.
        for part in found - modelled[head]:
            assert not part.startswith("CONSTRAINT")
            assert "NOT NULL" not in part or "DEFAULT" in part


def parts(ddl: str) -> tuple[str, set[str]]:
    """Return how a statement begins, and its columns and constraints, in whatever order.

    The columns of an index stay in their order. An added column stands at the end. In a table that
    was rebuilt, names are quoted and defaults in parentheses.
    """
    ddl = re.sub(r"DEFAULT \((\w+)\)", r"DEFAULT \1", ddl.replace('"', ""))
    head, _, body = ddl.rstrip(") \n").partition("(")
    if " INDEX " in head:
        return head.strip(), {body}
    return head.strip(), {part.strip() for part in re.split(r",(?![^(]*\))", body)}
