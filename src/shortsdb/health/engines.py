"""The health of the database of an engine: a SQLite file, one in memory, or a server."""

from __future__ import annotations

import os
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import greenlet_spawn

from shortsdb import url
from shortsdb.engine import READ_ONLY_OPTIONS
from shortsdb.health.report import CALLS, Health, unanswered, unreachable, version_problems
from shortsdb.health.sqlite_file import read_health, why_unwritable
from shortsdb.migration import revision_ids
from shortsdb.sqlite.version import version_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Look whether a database can be read, has the schema of this release, and is sound.

    Changes no row and creates no file; like every connection of `shortsdb.engine` it sets the file
    to WAL mode.

    Args:
        engine: Of `shortsdb.engine`; another one's connections enforce no foreign keys on SQLite.
        backup: Where backups go, a folder or "off". Without one SHORTSDB_BACKUP counts, then the
            folder `backups` beside the file.
        thorough: Read the whole SQLite file, for damage and for rows that point nowhere: seconds
            for some hundred megabytes, in which no writer waits. Without it a few pages are read.
        timeout_seconds: A database that has not answered by then counts as unreachable, even if the
            server is frozen. What hangs goes on in a thread that does not keep the program from
            ending, and the next call waits for that instead of starting another.
            Without one it is 30 s for a server, and no limit for SQLite.
    """
    look = partial(_look, engine, backup, thorough=thorough)
    timeout = _timeout(engine, timeout_seconds)
    if timeout is None:
        return look()
    try:
        return CALLS.call((engine, backup, thorough), look, timeout)
    except TimeoutError:
        return unanswered(timeout)


async def check_db_health_async(
    engine: AsyncEngine,
    *,
    backup: str | None = None,
    thorough: bool = True,
    timeout_seconds: float | None = None,
) -> Health:
    """Do as `check_db_health`; a call that outlasts the timeout goes on as a task of the loop."""
    sync_engine = engine.sync_engine
    look = partial(greenlet_spawn, _look, sync_engine, backup, thorough=thorough)
    timeout = _timeout(sync_engine, timeout_seconds)
    try:
        return await CALLS.call_async((sync_engine, backup, thorough), look, timeout)
    except TimeoutError:
        return unanswered(timeout or 0)


def _timeout(engine: Engine, given: float | None) -> float | None:
    if url.in_memory(engine.url):
        return None  # in another thread it may be another database
    if given is None and engine.dialect.name != "sqlite":
        return _SERVER_TIMEOUT_SECONDS
    return given


def _look(engine: Engine, backup: str | None, *, thorough: bool) -> Health:
    # Connecting would create the file.
    file = url.file(engine.url)
    if file is not None and not os.path.exists(file):  # noqa: PTH110 - raises nothing
        return unreachable("the file is not there")
    wanted = not _is_read_only(engine)
    begun = time.perf_counter()
    try:
        with engine.execution_options(**READ_ONLY_OPTIONS).connect() as connection:
            if connection.dialect.name != "sqlite":
                return _of_server(connection, begun, writable_wanted=wanted)
            # First: the transaction that begins with the next statement is read-only itself.
            query_only = _query_only(connection)
            connection.exec_driver_sql("SELECT 1")  # begins it
            unwritable = why_unwritable(file, query_only=query_only) if wanted else None
            return read_health(
                connection.connection,
                file,
                backup,
                begun,
                thorough=thorough,
                writable=None if not wanted else unwritable is None,
                unwritable=unwritable,
            )
    except (SQLAlchemyError, sqlite3.Error) as error:
        return unreachable("it cannot be reached or read", getattr(error, "orig", None) or error)


def _of_server(connection: Connection, begun: float, *, writable_wanted: bool) -> Health:
    version = version_of(_versions(connection), revision_ids())
    latency = time.perf_counter() - begun
    unwritable = _why_unwritable_server(connection) if writable_wanted else None
    return Health(
        reachable=True,
        revision=version.revision,
        head=revision_ids()[-1],
        known=version.known,
        pending=version.pending,
        writable=unwritable is None if writable_wanted else None,
        foreign_keys=True,
        latency_seconds=latency,
        problems=(
            *version_problems(version, foreign_keys=True),
            *([unwritable] if unwritable else []),
        ),
    )


def _versions(connection: Connection) -> Sequence[object]:
    """Return what the version table of a server says."""
    if not inspect(connection).has_table("alembic_version"):
        return []
    return connection.scalars(text("SELECT version_num FROM alembic_version")).all()


def _is_read_only(engine: Engine) -> bool:
    """Return whether the engine was made not to write."""
    options = engine.get_execution_options()
    return (
        any(options.get(option) for option in READ_ONLY_OPTIONS)
        or engine.url.query.get("mode") == "ro"
        or bool(engine.url.query.get("immutable"))
    )


def _query_only(connection: Connection) -> bool:
    """Return whether a SQLite connection refuses to write, before our own transaction makes it."""
    # A read-only session that was dropped instead of closed has left it on; the next one that
    # writes sets it off.
    if any(map(connection.info.get, READ_ONLY_OPTIONS)):
        return False
    cursor = connection.connection.cursor()  # not through SQLAlchemy, which would begin
    cursor.execute("PRAGMA query_only")
    row = cursor.fetchone()
    cursor.close()
    return bool(row and row[0])


def _why_unwritable_server(connection: Connection) -> str | None:
    """Return why a server takes no writes, None if it does."""
    if connection.scalar(text("SELECT pg_is_in_recovery()")):
        return "it is read-only: the server is a standby"
    if connection.scalar(text("SHOW default_transaction_read_only")) == "on":
        return "it is read-only: default_transaction_read_only is on"
    return None
