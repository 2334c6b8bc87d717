"""Migrations of PostgreSQL take turns, and none queues everybody behind it: locks and timeouts."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any
from zlib import crc32

from sqlalchemy import func, select

from shortsdb.settings import lock_timeout, statement_timeout, table_lock_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

_POLL_SECONDS = 0.05


@contextmanager
def advisory_lock(
    connection: Connection,
    version_table: str,
    begin: Callable[[], AbstractContextManager[Any]],
) -> Iterator[None]:
    """Hold a transaction in which no other migration runs, and no statement waits or runs for long.

    The timeouts are what they were after the block, because the transaction may be the caller's.

    It is begun again for each try. One that waits for the lock would be waited for, in its turn, by
    CREATE INDEX CONCURRENTLY of the migration that has the lock.

    Args:
        connection: The database.
        version_table: Migrations with the same one take turns.
        begin: Begins the transaction, such as `connection.begin`.
    """
    key = crc32(version_table.encode())
    give_up = time.monotonic() + lock_timeout()
    while True:
        with begin():
            before = _timeouts(connection)
            if connection.scalar(select(func.pg_try_advisory_xact_lock(key))):
                limit_waits(connection)
                yield
                _set(connection, before, local=True)
                return
            if time.monotonic() > give_up:  # the server's own error says it best
                _set(connection, {"lock_timeout": "1ms"}, local=True)
                connection.execute(select(func.pg_advisory_xact_lock(key)))
        time.sleep(_POLL_SECONDS)


@contextmanager
def session_lock(connection: Connection, version_table: str) -> Iterator[Any]:
    """Hold the same lock for the block, on another connection, whose cursor is given.

    Not for a pooler, behind which the next transaction may be in another session.
    """
    # A pool of its own: the present one may have no second connection to give.
    pool = connection.engine.pool.recreate()
    try:
        with closing(pool.connect()) as holder:
            driver: Any = holder.dbapi_connection
            driver.autocommit = True
            cursor = holder.cursor()
            cursor.execute(
                "SELECT set_config(name, '0', false) FROM pg_settings"
                " WHERE name IN ('statement_timeout', 'idle_session_timeout')"
            )
            key = crc32(version_table.encode())
            give_up = time.monotonic() + lock_timeout()
            while not _answer(cursor, f"SELECT pg_try_advisory_lock({key})"):
                if time.monotonic() > give_up:  # as in advisory_lock
                    cursor.execute("SET lock_timeout = 1")
                    cursor.execute(f"SELECT pg_advisory_lock({key})")
                time.sleep(_POLL_SECONDS)
            yield cursor
    finally:
        pool.dispose()


def _answer(cursor: Any, statement: str) -> Any:  # noqa: ANN401 - of any driver
    cursor.execute(statement)
    (answer,) = cursor.fetchone()
    return answer


@contextmanager
def autocommit(connection: Connection) -> Iterator[None]:
    """Let each statement of the block commit by itself, and take as long as it takes.

    Args:
        connection: One of which nobody else has the session, not in a transaction.
    """
    level = connection.get_execution_options().get(
        "isolation_level", connection.default_isolation_level
    )
    connection.execution_options(isolation_level="AUTOCOMMIT")
    before = _timeouts(connection)
    try:
        # CREATE INDEX CONCURRENTLY waits for older transactions, and nobody waits for it.
        set_timeouts(connection, lock=lock_timeout(), statement=0, local=False)
        yield
    finally:
        if not connection.invalidated:
            connection.rollback()
            _set(connection, before, local=False)
            connection.rollback()
            connection.execution_options(isolation_level=level)


def set_timeouts(
    connection: Connection, *, lock: float, statement: float, local: bool = True
) -> None:
    """Set how many seconds a statement waits for a lock and takes.

    Args:
        connection: One in a transaction.
        lock: At least a millisecond: 0 would mean for ever to PostgreSQL, and means not at all.
        statement: 0 for as long as it takes, whatever is set for the role or the database.
        local: To the end of the transaction, else of the session.
    """
    seconds = {"lock_timeout": max(lock, 0.001), "statement_timeout": statement}
    values = {name: f"{value * 1000:.0f}ms" for name, value in seconds.items()}
    _set(connection, values, local=local)


def limit_waits(connection: Connection) -> None:
    """Let no statement of the transaction wait or take longer than the settings say."""
    set_timeouts(connection, lock=table_lock_timeout(), statement=statement_timeout())


def _timeouts(connection: Connection) -> dict[str, str]:
    return {
        name: connection.execute(select(func.current_setting(name))).scalar_one()
        for name in ("lock_timeout", "statement_timeout")
    }


def _set(connection: Connection, values: dict[str, str], *, local: bool) -> None:
    for name, value in values.items():
        connection.execute(select(func.set_config(name, value, local)))
