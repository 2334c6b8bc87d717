"""The golden DDL files equal the schemas of the migrations and of the models."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import golden
import legacy_database
import pytest
from sqlalchemy import create_engine

from shortsdb.migration.baselines import BASELINES
from shortsdb.models import Base

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Server


@pytest.mark.parametrize("file", golden.golden(), ids=lambda file: file.name)
def test_golden_ddl(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == golden.golden()[file], (
        f"the schema differs from {file.name}; if that is meant, run `make golden` and commit it"
    )


def test_golden_ddl_of_a_postgresql_server(postgres: Server) -> None:
    assert golden.POSTGRESQL.read_text(encoding="utf-8") == golden.postgresql_ddl(postgres), (
        "the schema differs from the golden one; if that is meant, run `make golden` and commit it"
    )


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
    assert sorted(map(parts, by_revisions)) == sorted(map(parts, by_models))


def parts(ddl: str) -> list[str]:
    """Return a statement's columns and constraints, sorted: an added column stands at the end."""
    head, _, body = ddl.rstrip(") \n").partition("(")
    return [head, *sorted(part.strip() for part in re.split(r",(?![^(]*\))", body))]
