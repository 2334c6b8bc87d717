"""Writes the golden DDL files from what the revisions build."""

from __future__ import annotations

import logging
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from alembic import command

from shortsdb.log import quiet
from shortsdb.migration import baselines
from shortsdb.migration.revisions import alembic_config, revision_ids

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from postgresql_server import Server
from released import RELEASED

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
    """Return what every golden file of SQLite should hold, by path.

    There is one for head, and for every released revision that has one already: a database that was
    made by create_all of that release's models is recognised by it.
    """
    kept = RELEASED & {file.stem for file in BASELINES.glob("*.sql")}
    revisions = sorted(kept | {revision_ids()[-1]})
    return {BASELINES / f"{revision}.sql": sqlite_ddl(revision) for revision in revisions}


def write() -> None:
    """Write the golden files, and remove those of revisions that are neither head nor released."""
    with quiet("shortsdb", logging.ERROR):
        files = golden()
        with Server() as running:
            files[POSTGRESQL] = postgresql_ddl(running)
    for file in set(BASELINES.glob("*.sql")) - files.keys():
        file.unlink()
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
