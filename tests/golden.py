"""Writes the golden DDL files from the revisions and the models: `make golden`."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from alembic import command
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from shortsdb import shapes
from shortsdb.config import alembic_config
from shortsdb.models import Base

SHAPES = Path(shapes.__file__).parent
POSTGRESQL = Path(__file__).parent / "assets" / "head_postgresql.sql"


def sqlite_ddl(revision: str) -> str:
    """Return the schema that the revisions up to `revision` build in a new SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.db"
        command.upgrade(alembic_config(str(path)), revision)
        with closing(sqlite3.connect(path)) as connection:
            statements = connection.execute(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
                " AND name <> 'alembic_version' ORDER BY rowid"
            ).fetchall()
    return "".join(f"{sql};\n" for (sql,) in statements)


def postgresql_ddl() -> str:
    """Return the DDL of the models as SQLAlchemy compiles it for PostgreSQL."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    elements: list[ExecutableDDLElement] = []
    for table in Base.metadata.sorted_tables:
        elements.append(CreateTable(table))
        elements += map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))
    return "".join(f"{str(element.compile(dialect=dialect)).strip()};\n" for element in elements)


def golden() -> dict[Path, str]:
    """Return what every golden file should hold, by path."""
    return {
        SHAPES / "0001.sql": sqlite_ddl("0001"),
        SHAPES / "0008.sql": sqlite_ddl("0008"),
        POSTGRESQL: postgresql_ddl(),
    }


if __name__ == "__main__":
    for file, text in golden().items():
        file.write_text(text, encoding="utf-8")
