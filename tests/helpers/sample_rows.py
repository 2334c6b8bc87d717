"""Rows for the tables that revisions have made, with the values that are lost most easily."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from shortsdb.migration.baselines import BASELINES
from shortsdb.models import metadata
from shortsdb.sqlite.schema import affinity, schema_of_script

if TYPE_CHECKING:
    from pathlib import Path

MICROSECONDS = "2026-03-04 05:06:07.000890"
WHOLE_SECOND = "2026-03-04 05:06:07"

NEW_ROWS: dict[str, list[tuple[Any, ...]]] = {
    "scripts": [
        (1, 1, "Öffnung 🎬", None, '{"lines": ["猫"]}', 2**63 - 1, 1e308, "llm", MICROSECONDS),
        (2, 2, None, "", "[]", 0, float("inf"), "llm", WHOLE_SECOND),
    ],
    "tts_audio": [
        (1, 1, "engine", None, None, None, WHOLE_SECOND),
        (2, 1, "engine", "голос", "/a.mp3", 12.5, MICROSECONDS),
    ],
    "shorts": [
        (1, 1, None, None, None, None, None, None, None, "pending", None),
        (2, 1, 1, "/s.mp4", 59.9, "標題", "x" * 5000, "yt", "url", "uploaded", MICROSECONDS),
    ],
    "analytics": [
        (1, "yt", MICROSECONDS, 2**63 - 1, None, -1, 0.1, None, -5, 1e-9),
        (2, "yt", WHOLE_SECOND, None, None, None, None, None, None, float("-inf")),
    ],
    "review_logs": [
        (1, 1, MICROSECONDS, None, None, None, 1),
        (2, 2, WHOLE_SECOND, MICROSECONDS, "skip", "skip 4,7", 0),
    ],
    "config_overrides": [
        ("", "leer", WHOLE_SECOND, "system"),
        ("ключ", "значение", MICROSECONDS, "telegram"),
    ],
    "error_logs": [
        (1, None, "upload", "OSError", "voll", None, MICROSECONDS, 0),
        (2, 2, "tts", "KeyError", "'ü'", "Traceback …", WHOLE_SECOND, 1),
    ],
}


def _columns(table: str) -> str:
    """Return the columns of NEW_ROWS; later revisions may add others."""
    return ", ".join(schema_of_script(BASELINES["0008"])[table].columns)


def fill_new_tables(path: Path) -> None:
    """Insert NEW_ROWS into those of their tables that the file has, and a row into later tables."""
    with closing(sqlite3.connect(path)) as connection, connection:
        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        for table, rows in NEW_ROWS.items():
            if table in there:
                values = ", ".join("?" * len(rows[0]))
                connection.executemany(
                    f"INSERT INTO {table} ({_columns(table)}) VALUES ({values})", rows
                )
        for table in there & later_tables():
            row = _made_up(connection, table)
            values = ", ".join("?" * len(row))
            connection.execute(
                f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})", list(row.values())
            )


def later_tables() -> set[str]:
    """Return the tables of the models that NEW_ROWS has no rows for, and no deployed file."""
    return metadata.tables.keys() - schema_of_script(BASELINES["0008"]).keys()


def _made_up(connection: sqlite3.Connection, table: str) -> dict[str, object]:
    """Return a row with a value in every column; what refers to another row refers to 1."""
    by_affinity = {"INTEGER": 1, "REAL": 0.1, "TEXT": "猫", "BLOB": b"\0", "NUMERIC": MICROSECONDS}
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return {name: by_affinity[affinity(declared)] for _, name, declared, *_ in columns}
