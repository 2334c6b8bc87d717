"""Check the health of an engine's database: a SQLite file, one in memory, or a server."""

from __future__ import annotations

import os
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import greenlet_spawn

from shortsdb import url
from shortsdb.engine import READ_ONLY_OPTIONS
from shortsdb.health.report import CALLS, Health, unanswered, unreachable, version_problems
from shortsdb.health.sqlite_file import read_health
from shortsdb.migration import read_server_version, revision_ids
from shortsdb.sqlite.connection import values

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

_SERVER_TIMEOUT_SECONDS = 30.0


def check_db_health(
    engine: Engine,
    *,
    backup: str | None = None,
    thorough: bool = True,
    timeout_seconds: float | None = None,
) -> Health:
    """Check that a database is readable, has the schema of this release, and is undamaged.

    The check changes no row and creates no file. Like every connection of `shortsdb.engine` it sets
    the file to WAL mode.

    Args:
        engine: An engine of `shortsdb.engine`; others do not enforce foreign keys on SQLite.
        backup: The folder of backups, or "off". The default is SHORTSDB_BACKUP, then the folder
            `backups` beside the file.
        thorough: Whether to read the whole SQLite file, to find damage and violated foreign keys.
            This takes seconds for some hundred megabytes, and does not block writers. Otherwise
            only a few pages are read.
        timeout_seconds: After this time a database counts as unreachable, even if the server is
            frozen. A hanging check continues in a daemon thread, and the next call waits for it
            instead of starting another one. The default is 30 s for a server, and no limit for
            SQLite.
    """
    check = partial(_check, engine, backup, thorough=thorough)
    timeout = _timeout(engine, timeout_seconds)
    if timeout is None:
        return check()
    try:
        return CALLS.call((engine, backup, thorough), check, timeout)
    except TimeoutError:
        return unanswered(timeout)


async def check_db_health_async(
    engine: AsyncEngine,
    *,
    backup: str | None = None,
    thorough: bool = True,
    timeout_seconds: float | None = None,
) -> Health:
    """Do as `check_db_health`; a check that exceeds the timeout continues as a task of the loop."""
    sync_engine = engine.sync_engine
    check = partial(greenlet_spawn, _check, sync_engine, backup, thorough=thorough)
    timeout = _timeout(sync_engine, timeout_seconds)
    try:
        return await CALLS.call_async((sync_engine, backup, thorough), check, timeout)
    except TimeoutError:
        return unanswered(timeout or 0)


def _timeout(engine: Engine, given: float | None) -> float | None:
    if url.in_memory(engine.url):
        return None  # another thread may see another database
    if given is None and engine.dialect.name != "sqlite":
        return _SERVER_TIMEOUT_SECONDS
    return given


def _check(engine: Engine, backup: str | None, *, thorough: bool) -> Health:
    # Connecting would create the file.
    file = url.file(engine.url)
    if file is not None and not os.path.exists(file):  # noqa: PTH110 - does not raise
        return unreachable("the file does not exist")
    wanted = not _is_read_only(engine)
    begun = time.perf_counter()
    try:
        with engine.execution_options(**READ_ONLY_OPTIONS).connect() as connection:
            if connection.dialect.name != "sqlite":
                return _of_server(connection, begun, writable_wanted=wanted)
            # Read this first, because the transaction of the next statement sets it.
            query_only = _query_only(connection)
            connection.exec_driver_sql("SELECT 1")  # begins the transaction
            return read_health(
                connection.connection,
                file,
                backup,
                begun,
                thorough=thorough,
                writable_wanted=wanted,
                query_only=query_only,
            )
    except (SQLAlchemyError, sqlite3.Error) as error:
        return unreachable("it cannot be reached or read", getattr(error, "orig", None) or error)


def _of_server(connection: Connection, begun: float, *, writable_wanted: bool) -> Health:
    version = read_server_version(connection, "it")
    latency = time.perf_counter() - begun
    unwritable = _why_unwritable_server(connection) if writable_wanted else None
    return Health(
        reachable=True,
        revision=version.revision,
        shape=version.shape,
        head=revision_ids()[-1],
        known=version.known,
        pending=version.pending,
        writable=unwritable is None if writable_wanted else None,
        foreign_keys=True,
        size_bytes=connection.scalar(text("SELECT pg_database_size(current_database())")),
        latency_seconds=latency,
        problems=(
            *version_problems(version, foreign_keys=True),
            *([unwritable] if unwritable else []),
        ),
    )


def _is_read_only(engine: Engine) -> bool:
    """Return whether the engine is configured as read-only."""
    options = engine.get_execution_options()
    return (
        any(options.get(option) for option in READ_ONLY_OPTIONS)
        or engine.url.query.get("mode") == "ro"
        or bool(engine.url.query.get("immutable"))
    )


def _query_only(connection: Connection) -> bool:
    """Return whether the caller has set a SQLite connection to query_only."""
    # A read-only session that was never closed leaves it on; the next writing session resets it.
    if any(map(connection.info.get, READ_ONLY_OPTIONS)):
        return False
    # Not through SQLAlchemy, which would begin a transaction.
    return values(connection.connection, "PRAGMA query_only") == [1]


def _why_unwritable_server(connection: Connection) -> str | None:
    """Return why a server refuses writes, None if it accepts them."""
    if connection.scalar(text("SELECT pg_is_in_recovery()")):
        return "it is read-only: the server is a standby"
    if connection.scalar(text("SHOW default_transaction_read_only")) == "on":
        return "it is read-only: default_transaction_read_only is on"
    return None
