"""Creating engines, sync and async, and what their connections are set to."""

from __future__ import annotations

import os
import sqlite3
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine as _create_engine
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError

from shortsdb import url as urls
from shortsdb.engine.fork import guard_forks
from shortsdb.engine.memory import AsyncSharedConnectionPool, SharedConnectionPool
from shortsdb.engine.replaced_file import guard_replaced_file
from shortsdb.engine.transactions import SETTINGS_CHANGED, track_transactions
from shortsdb.extras import extra
from shortsdb.settings import DEFAULT_URL, database_url
from shortsdb.settings import schema as default_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import URL, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

PRAGMAS: Mapping[str, str | int] = {
    # Milliseconds to wait for the write lock before "database is locked"; sqlite3's own 5 s are
    # less than a bulk insert of another process may take. First, so that those below wait too.
    "busy_timeout": 30_000,
    # Readers and the writer do not wait for each other. Stays with the file.
    "journal_mode": "WAL",
    # In WAL mode NORMAL may forget the last commits on a power cut: an upload that was
    # acknowledged would be done twice. FULL syncs the log at every commit.
    "synchronous": "FULL",
    # SQLite enforces foreign keys only where it is told to, connection by connection.
    "foreign_keys": "ON",
}
"""What every SQLite connection is set to; facts from https://sqlite.org/pragma.html."""

# How often to try for WAL mode while others try too: one of them succeeds every time.
_JOURNAL_MODE_ATTEMPTS = 100

# SQLAlchemy's 15 connections at most are for servers. A session keeps its connection while its task
# thinks, so that the sixteenth task would wait for one. SQLite has no limit.
_ASYNC_SQLITE_POOL = {"pool_size": 50, "max_overflow": 50}

# The same database by the other kind of driver: one SHORTSDB_URL serves both kinds of engine.
_ASYNC_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+pysqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
}


def create_engine(
    url: str | os.PathLike[str] | URL | None = None,
    *,
    schema: str | None = None,
    pragmas: Mapping[str, str | int | None] | None = None,
    **options: Any,  # noqa: ANN401 - SQLAlchemy's own
) -> Engine:
    """Return an engine on the pipeline's database, whose sessions are as `shortsdb.engine` says.

    A connection with the isolation level AUTOCOMMIT takes no lock and begins no transaction. A
    database in memory has one connection, see `SharedConnectionPool`. On PostgreSQL a
    transaction is READ COMMITTED, or what `isolation_level` says, and a read-only one REPEATABLE
    READ. Under REPEATABLE READ and SERIALIZABLE explicit transactions can conflict too, because the
    snapshot is taken before the wait for the write lock. No statement is prepared on PostgreSQL,
    see `shortsdb.url.connect_args`.

    Args:
        url: The database, by URL or path, whichever driver it names. Without one SHORTSDB_URL
            counts, then `shortsdb.settings.DEFAULT_URL`.
        schema: The schema of a PostgreSQL database that the tables are in. Then no name leads out
            of it, whatever the search_path is. Without one SHORTSDB_SCHEMA counts, then the first
            schema of the search_path.
        pragmas: Settings that win over `PRAGMAS` or come on top; None leaves one as the file or
            SQLite has it. On PostgreSQL only `busy_timeout` counts: the longest wait for the write
            lock, in milliseconds; None leaves that to the server's `lock_timeout`.
        options: For `sqlalchemy.create_engine`.

    Raises:
        sqlalchemy.exc.ArgumentError: The URL is malformed, or a schema of SQLite is asked for.
        ModuleNotFoundError: Its driver is not installed.
    """
    resolved = _resolve(url, urls.SYNC_DRIVERS)
    with extra("postgres", "psycopg"):
        engine = _create_engine(
            resolved, **_engine_options(resolved, SharedConnectionPool, options)
        )
    _prepare(engine, schema, pragmas)
    return engine


def create_async_engine(
    url: str | os.PathLike[str] | URL | None = None,
    *,
    schema: str | None = None,
    pragmas: Mapping[str, str | int | None] | None = None,
    **options: Any,  # noqa: ANN401 - SQLAlchemy's own
) -> AsyncEngine:
    """Return an engine for asyncio (extra: async); see `create_engine`, all of which holds.

    Await its `dispose()` before the event loop ends: every connection to SQLite has a thread. An
    engine on an SQLite file keeps up to 50 connections and opens up to 100.

    Raises:
        sqlalchemy.exc.ArgumentError: The URL is malformed.
        ModuleNotFoundError: Its driver is not installed.
    """
    with extra("async", "greenlet"):
        import_module("greenlet")  # SQLAlchemy would miss it only on the first await
        from sqlalchemy.ext import asyncio  # noqa: PLC0415 - as above

    resolved = _resolve(url, _ASYNC_DRIVERS)
    options = _engine_options(resolved, AsyncSharedConnectionPool, options)
    with extra("async", "aiosqlite"), extra("postgres", "psycopg"):
        engine = asyncio.create_async_engine(resolved, **options)
    _prepare(engine.sync_engine, schema, pragmas)
    return engine


def _resolve(given: str | os.PathLike[str] | URL | None, drivers: Mapping[str, str]) -> URL:
    """Return the URL of what the caller gave or the environment says, on the kind of driver."""
    url = urls.parse(given or database_url() or DEFAULT_URL)
    if urls.file(url) is not None:
        # The same file whatever folder the process goes to later.
        url = url.set(database=os.path.abspath(str(url.database)))  # noqa: PTH100 - resolves no link
    return url.set(drivername=drivers.get(url.drivername, url.drivername))


def _engine_options(
    url: URL, pool: type[SharedConnectionPool], options: dict[str, Any]
) -> dict[str, Any]:
    """Return options with which the pool recovers, and a database in memory has one connection.

    A server that was restarted has closed all connections: a ping finds out, before a request
    fails for it. Under READ COMMITTED a transaction that has waited for the write lock sees what
    was committed meanwhile. For a database in memory SQLAlchemy's pools would give every thread a
    database of its own, or put the transactions of several sessions into one.
    """
    if url.get_backend_name() != "sqlite":
        return {
            "pool_pre_ping": True,
            "isolation_level": "READ COMMITTED",
            **options,
            "connect_args": {**urls.connect_args(url), **options.get("connect_args", {})},
        }
    if "poolclass" in options:
        return options
    if not urls.in_memory(url):
        return {**_ASYNC_SQLITE_POOL, **options} if pool is AsyncSharedConnectionPool else options
    return {
        "poolclass": pool,
        "pool_size": 1,
        "max_overflow": 0,
        **options,
        "connect_args": {"check_same_thread": False, **options.get("connect_args", {})},
    }


def _prepare(
    engine: Engine, schema: str | None, pragmas: Mapping[str, str | int | None] | None
) -> None:
    """Set the connections of an engine, and let its transactions be what `shortsdb.engine` says."""
    if engine.dialect.name != "sqlite":
        schema = schema or default_schema()
    elif schema is not None:
        raise ArgumentError("SQLite has no schemas; give each channel a file of its own")
    guard_forks(engine)  # first: its listeners replace what the others work on
    settings = {**PRAGMAS, **(pragmas or {})}
    if engine.dialect.name == "sqlite":
        _set_connections(engine, settings)
        if urls.file(engine.url) is not None:
            # Not resolved: a link, too, may come to mean another file.
            guard_replaced_file(engine, Path(str(engine.url.database)))
    timeout = settings["busy_timeout"]
    # In PostgreSQL 0 means forever.
    track_transactions(engine, None if timeout is None else max(1, int(timeout)), schema)


def _set_connections(engine: Engine, settings: Mapping[str, str | int | None]) -> None:
    def connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        if connection.isolation_level is not None:  # None: the engine is AUTOCOMMIT
            # Transactions are begun by `shortsdb.engine.transactions`. This is for statements that
            # it does not see, on a raw connection: a rollback must undo them.
            connection.isolation_level = "IMMEDIATE"
        _apply(settings, connection)

    def checkout(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        # A setting is for as long as the caller has the connection.
        if record.info.pop(SETTINGS_CHANGED, False):
            _apply(settings, connection)

    event.listen(engine, "connect", connect)
    event.listen(engine, "checkout", checkout)


def _apply(settings: Mapping[str, str | int | None], connection: DBAPIConnection) -> None:
    cursor = connection.cursor()
    for name, value in settings.items():
        if value is None:
            continue
        if name == "journal_mode":
            _set_journal_mode(cursor, str(value))
        else:
            cursor.execute(f"PRAGMA {name} = {value}")
    cursor.close()


def _set_journal_mode(cursor: DBAPICursor, mode: str) -> None:
    """Set the journal mode, after other users of the file have finished with the old one.

    SQLite does not wait by itself: on a new file, connections of several processes would fail
    with "database is locked".
    """
    for _ in range(_JOURNAL_MODE_ATTEMPTS):
        try:
            cursor.execute(f"PRAGMA journal_mode = {mode}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_READONLY:
                return  # a user who may only read the file reads it in the mode that it has
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            # This one waits, for busy_timeout.
            cursor.execute("BEGIN EXCLUSIVE")
            cursor.execute("ROLLBACK")
        else:
            return
    cursor.execute(f"PRAGMA journal_mode = {mode}")
