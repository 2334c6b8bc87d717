"""Read and change a SQLite file with sqlite3 only, independent of the code under test."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from shortsdb.migration.baselines import BASELINES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BOOKKEEPING = ("alembic_version", "shortsdb_history")
"""The tables of the migrations themselves, which a downgrade leaves behind."""


def execute(path: Path, script: str) -> None:
    """Run a script on the file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def schema(path: Path) -> dict[str, str]:
    """Return the sqlite_master text of every object that has one, by name."""
    with closing(sqlite3.connect(path)) as connection:
        return dict(
            connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
            ).fetchall()
        )


def columns(path: Path) -> dict[str, list[str]]:
    """Return the columns of every table but alembic_version."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            " AND name NOT LIKE 'sqlite_%'"
            f" AND name NOT IN {BOOKKEEPING}"
        ).fetchall()
        return {
            table: [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
            for (table,) in tables
        }


def row_counts(path: Path) -> dict[str, int]:
    """Return the number of rows of every table but alembic_version."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
            for table in columns(path)
        }


def same_data(before: Path, after: Path) -> bool:
    """Return whether an upgrade kept the rows of a file, and the deployed tables as they were.

    A column that a revision has dropped is not compared, and other tables may be rebuilt.
    """
    there = columns(after)
    of = {
        table: [name for name in names if name in there[table]]
        for table, names in columns(before).items()
        if table in there
    }
    frozen = set(BASELINES["0001"].split(";\n"))
    kept = frozen & set(schema(before).values()) <= set(schema(after).values())
    return kept and row_hashes(before, of) == row_hashes(after, of)


def row_hashes(path: Path, of: Mapping[str, list[str]] | None = None) -> dict[str, str]:
    """Return a hash over all rows of every table but alembic_version, types included.

    Args:
        path: The file.
        of: Only these columns of these tables, such as those before an upgrade.
    """
    of = columns(path) if of is None else of
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: hashlib.sha256(
                repr(
                    connection.execute(
                        f"SELECT {', '.join(map(_quoted, names))} FROM {_quoted(table)} ORDER BY 1"
                    ).fetchall()
                ).encode()
            ).hexdigest()
            for table, names in of.items()
        }


def version(path: Path) -> list[str]:
    """Return the rows of the version table."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]


def history(path: Path) -> list[tuple[str, str | None, str | None]]:
    """Return what was done to the file by its own history: each action, from where and to where."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT action, from_revision, to_revision FROM shortsdb_history ORDER BY number"
        ).fetchall()


def file_hash(path: Path) -> str:
    """Return a hash of the file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _quoted(name: str) -> str:
    return f'"{name}"'
