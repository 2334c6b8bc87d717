"""Tells when an upgrade of a PostgreSQL database waits for another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

    import psycopg

# It tries in one transaction after the other, see `migration.locks.advisory_lock`.
_TRIES = (
    "SELECT query_start FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE '%pg_try_advisory_xact_lock%' AND pid <> pg_backend_pid()"
)


def wait_until_it_waits(upgrade: Future[Any], connection: psycopg.Connection) -> None:
    """Return when an upgrade has tried three times.

    Args:
        upgrade: It, running in another process.
        connection: One in autocommit mode to its database.
    """
    seen: set[object] = set()
    while len(seen) < 3:
        assert not upgrade.done(), "it did not wait"
        seen.update(connection.execute(_TRIES).fetchall())
