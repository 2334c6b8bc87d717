"""Read the state of a database file, and check that it is one of the two allowed states."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspect_sqlite import history, row_hashes, schema, version

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

HALF = "half states"
ROWS = "lost or changed rows"


@dataclass(frozen=True)
class State:
    """What must not be lost: the text of sqlite_master, the revisions, a hash of all rows.

    And of the history what does not differ from one run to the next: it is written in the same
    transaction.
    """

    schema: dict[str, str]
    versions: tuple[str, ...]
    rows: dict[str, str]
    history: tuple[tuple[str, str | None, str | None], ...]


def read_state(path: Path) -> State:
    """Return the state of a database, recovered as by the first connection after a crash."""
    objects = schema(path)
    versions = tuple(version(path)) if "alembic_version" in objects else ()
    done = tuple(history(path)) if "shortsdb_history" in objects else ()
    return State(objects, versions, row_hashes(path), done)


def damage(path: Path) -> str | None:
    """Return the findings or the error of integrity_check; None if the database is undamaged."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == ["ok"] else "; ".join(found)


def examine(path: Path, allowed: Collection[State]) -> tuple[State | None, tuple[str, str] | None]:
    """Return the state of a database, and a finding if it is not one of the `allowed` states.

    A finding has a kind and a detail; a damaged database has no state.
    """
    damaged = damage(path)
    if damaged is not None:
        return None, (HALF, f"damaged: {damaged}")
    state = read_state(path)
    if state in allowed:
        return state, None
    for other in allowed:
        if (state.schema, state.versions) == (other.schema, other.versions):
            tables = [name for name in other.rows if state.rows[name] != other.rows[name]]
            return state, (ROWS, f"rows differ in {', '.join(tables)}")
    return state, (HALF, f"versions {state.versions}, objects {sorted(state.schema)}")
