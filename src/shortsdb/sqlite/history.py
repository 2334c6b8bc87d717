"""The history of a database: which migrations were applied to it, in a table of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shortsdb.errors import OperationRefused
from shortsdb.sqlite.connection import rows
from shortsdb.sqlite.schema import table_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shortsdb.sqlite.connection import Connection

HISTORY_TABLE = "shortsdb_history"
"""The table, which no model knows. A database that an earlier release upgraded has none."""

CREATE = f"""CREATE TABLE IF NOT EXISTS {HISTORY_TABLE} (
    number INTEGER NOT NULL PRIMARY KEY,
    applied_at TEXT NOT NULL,
    action TEXT NOT NULL,
    from_revision TEXT,
    to_revision TEXT,
    seconds DOUBLE PRECISION,
    seconds_locked DOUBLE PRECISION,
    package_version TEXT NOT NULL,
    backup TEXT,
    correlation_id TEXT,
    checksums TEXT NOT NULL
)"""
"""Its DDL, for SQLite and PostgreSQL."""

_SELECT = (
    "SELECT applied_at, action, from_revision, to_revision, seconds, seconds_locked,"  # noqa: S608 - a constant
    f" package_version, backup, correlation_id, checksums FROM {HISTORY_TABLE} ORDER BY number"
)


@dataclass(frozen=True)
class Applied:
    """A migration that was applied.

    Attributes:
        applied_at: When, in UTC as ISO 8601 spells it: just before its commit.
        action: "upgrade", "downgrade", "stamp", or "adoption" of a database without a version.
        from_revision: The revision before, None for none.
        to_revision: The revision after, None for none.
        seconds: How long it took until then, with its backup; None for an adoption, which is a
            part of the upgrade that follows.
        seconds_locked: How long others could not write until then; None likewise.
        package_version: The release of shortsdb that did it.
        backup: The backup made before it, None for none.
        correlation_id: What its log records carry.
        checksums: That of each revision that an upgrade applied.
    """

    applied_at: str
    action: str
    from_revision: str | None
    to_revision: str | None
    seconds: float | None
    seconds_locked: float | None
    package_version: str
    backup: str | None
    correlation_id: str | None
    checksums: dict[str, str]


def read_history(connection: Connection) -> list[Applied]:
    """Return what was applied to a SQLite database, in that order; nothing if it has no history."""
    return read_table(connection) if HISTORY_TABLE in table_names(connection) else []


def read_table(connection: Connection) -> list[Applied]:
    """Return the same from a database of any kind that has the table.

    Raises:
        OperationRefused: Somebody else has written to it.
    """
    return [_applied(row) for row in rows(connection, _SELECT)]


def _applied(row: Sequence[Any]) -> Applied:
    try:
        checksums = json.loads(row[-1])
    except (TypeError, ValueError):
        checksums = None
    numbers = row[4:6]
    if (
        not isinstance(checksums, dict)
        or any(isinstance(value, bytes) for value in row)
        or not all(value is None or isinstance(value, int | float) for value in numbers)
        or not all(isinstance(row[column], str) for column in (0, 1))
    ):
        raise OperationRefused(
            f"{HISTORY_TABLE} holds a row that shortsdb has not written, of {row[0]!r}; correct or "
            "delete it"
        )
    return replace(Applied(*row), checksums=checksums)


def changed_revisions(history: Iterable[Applied], present: Mapping[str, str]) -> list[str]:
    """Return the revisions whose files are not what they were when they were applied.

    Args:
        history: What was applied, oldest first.
        present: The checksum of each revision file of this release.
    """
    applied: dict[str, str] = {}
    for migration in history:
        applied |= migration.checksums
        at = migration.to_revision or ""  # ids are numbers of equal length
        applied = {revision: found for revision, found in applied.items() if revision <= at}
    return sorted(
        revision
        for revision, checksum in applied.items()
        if present.get(revision, checksum) != checksum
    )
