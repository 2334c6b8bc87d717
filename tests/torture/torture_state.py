"""The state of a database file, and whether it is one of the two that it may be in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspect_sqlite import row_hashes, schema, version

if TYPE_CHECKING:
    from pathlib import Path

HALF = "half states"
ROWS = "lost or changed rows"


@dataclass(frozen=True)
class State:
    """What must not be lost: the text of sqlite_master, the revisions, a hash of all rows."""

    schema: dict[str, str]
    versions: tuple[str, ...]
    rows: dict[str, str]


def read_state(path: Path) -> State:
    """Return the state of a database, recovered as by the first connection after a crash."""
    objects = schema(path)
    versions = tuple(version(path)) if "alembic_version" in objects else ()
    return State(objects, versions, row_hashes(path))


def damage(path: Path) -> str | None:
    """Return what integrity_check finds, or why it cannot look; None for a sound database."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == ["ok"] else "; ".join(found)


def misstep(path: Path, allowed: tuple[State, ...]) -> tuple[str, str] | None:
    """Return what is wrong with a database that must be in one of the states, None if it is.

    First the kind, then the detail.
    """
    damaged = damage(path)
    if damaged is not None:
        return HALF, f"damaged: {damaged}"
    state = read_state(path)
    if state in allowed:
        return None
    for other in allowed:
        if (state.schema, state.versions) == (other.schema, other.versions):
            tables = [name for name in other.rows if state.rows[name] != other.rows[name]]
            return ROWS, f"rows differ in {', '.join(tables)}"
    return HALF, f"versions {state.versions}, objects {sorted(state.schema)}"
