"""Records each migration in the database that it changes, in the same transaction."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from alembic import context
from sqlalchemy import inspect, text

from shortsdb import __version__
from shortsdb.log import correlation_id
from shortsdb.migration.revisions import checksum
from shortsdb.printable import printable
from shortsdb.sqlite.history import CREATE, HISTORY_TABLE, Applied, read_table

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from shortsdb.migration.plan import Plan

_INSERT = text(
    f"INSERT INTO {HISTORY_TABLE} VALUES ("  # noqa: S608 - a constant
    f"(SELECT coalesce(max(number), 0) + 1 FROM {HISTORY_TABLE}), :applied_at, :action,"
    " :from_revision, :to_revision, :seconds, :seconds_locked, :package_version, :backup,"
    " :correlation_id, :checksums)"
)


def record(  # noqa: PLR0913 - what there is to know of a migration
    connection: Connection,
    plan: Plan,
    after: tuple[str, ...],
    *,
    begun: float,
    locked: float,
    backup: Path | None = None,
) -> None:
    """Write down what was done, in the transaction that it was done in; nothing if nothing was.

    Args:
        connection: The database.
        plan: What was planned.
        after: What the version table says now.
        begun: When the migration began, by time.monotonic.
        locked: Since when others cannot write, likewise.
        backup: The backup that was made before.
    """
    if plan.heads == after:
        return
    connection.execute(text(CREATE))
    migration: dict[str, Any] = {
        "applied_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "package_version": __version__,
        "from_revision": printable(", ".join(map(str, plan.heads))) or None,
        "seconds": None,
        "seconds_locked": None,
        "backup": printable(backup) if backup else None,
        "correlation_id": correlation_id(),
        "checksums": "{}",
    }
    if plan.stamp is not None:
        adoption = {"action": "adoption", "to_revision": plan.stamp}
        connection.execute(_INSERT, migration | adoption)
        migration["from_revision"] = plan.stamp
        if not plan.revisions:
            return
    if plan.action == "upgrade":
        migration["checksums"] = json.dumps(
            {id_: checksum(context.script.get_revision(id_).path) for id_ in plan.revisions}
        )
    now = time.monotonic()
    migration |= {
        "action": plan.action,
        "to_revision": ", ".join(after) or None,
        "seconds": round(now - begun, 3),
        "seconds_locked": round(now - locked, 3),
    }
    connection.execute(_INSERT, migration)


def read_history(connection: Connection) -> list[Applied]:
    """Return what was applied to a database, in that order; nothing if it has no history."""
    if not inspect(connection).has_table(HISTORY_TABLE):
        return []
    return read_table(connection.connection)
