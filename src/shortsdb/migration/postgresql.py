"""Migrations of PostgreSQL: one at a time, and none that queues everybody behind it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from zlib import crc32

from sqlalchemy import func, select

from shortsdb.settings import lock_timeout, statement_timeout, table_lock_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


@contextmanager
def advisory_lock(connection: Connection, version_table: str) -> Iterator[None]:
    """Wait for other migrations of the database, and let no statement wait or run for long.

    Lasts as long as the transaction; the timeouts are what they were after the block, because the
    transaction may be the caller's.

    Args:
        connection: One in a transaction.
        version_table: Migrations with the same one take turns.
    """
    before = {
        name: connection.scalar(select(func.current_setting(name)))
        for name in ("lock_timeout", "statement_timeout")
    }
    set_timeouts(connection, lock=lock_timeout(), statement=0)
    # Before the revision is read.
    connection.execute(select(func.pg_advisory_xact_lock(crc32(version_table.encode()))))
    set_timeouts(connection, lock=table_lock_timeout(), statement=statement_timeout())
    yield
    for name, value in before.items():
        connection.execute(select(func.set_config(name, value, True)))  # noqa: FBT003 - its third argument


def set_timeouts(connection: Connection, *, lock: float, statement: float) -> None:
    """Set how many seconds a statement waits for a lock and takes, to the transaction's end.

    Args:
        connection: One in a transaction.
        lock: At least a millisecond: 0 would mean for ever to PostgreSQL, and means not at all.
        statement: 0 for as long as it takes, whatever is set for the role or the database.
    """
    for name, seconds in (("lock_timeout", max(lock, 0.001)), ("statement_timeout", statement)):
        value = f"{seconds * 1000:.0f}ms"
        connection.execute(select(func.set_config(name, value, True)))  # noqa: FBT003 - as above
