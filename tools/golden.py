"""Writes the golden DDL files from what the revisions build: `make golden`."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from alembic import command

from shortsdb.migration import baselines
from shortsdb.migration.revisions import alembic_config

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from postgresql_server import Server

BASELINES = Path(baselines.__file__).parent
POSTGRESQL = Path(__file__).parents[1] / "tests" / "assets" / "head_postgresql.sql"


def sqlite_ddl(revision: str) -> str:
    """Return the schema that the revisions up to `revision` build in a new SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.db"
        command.upgrade(alembic_config(str(path)), revision)
        with closing(sqlite3.connect(path)) as connection:
            statements = connection.execute(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
                " AND name NOT IN ('alembic_version', 'shortsdb_history') ORDER BY rowid"
            ).fetchall()
    return "".join(f"{sql};\n" for (sql,) in statements)


def postgresql_ddl(server: Server) -> str:
    """Return the schema that the revisions build, as a PostgreSQL server describes it."""
    database = server.create_database()
    command.upgrade(alembic_config(database.url), "head")
    return database.ddl()


def golden() -> dict[Path, str]:
    """Return what every golden file of SQLite should hold, by path."""
    return {BASELINES / f"{revision}.sql": sqlite_ddl(revision) for revision in ("0001", "0008")}


if __name__ == "__main__":
    for file, text in golden().items():
        file.write_text(text, encoding="utf-8")
    with Server() as running:
        POSTGRESQL.write_text(postgresql_ddl(running), encoding="utf-8")
