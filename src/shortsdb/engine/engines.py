"""Create sync and async engines and configure their connections."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
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
from shortsdb.postgresql_session import use_iso_dates
from shortsdb.settings import DEFAULT_URL, database_url
from shortsdb.settings import schema as default_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import URL, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

PRAGMAS: Mapping[str, str | int] = {
    # Milliseconds to wait for the write lock before "database is locked". A bulk insert of another
    # process may take longer than sqlite3's default of 5 s. This is set first, because setting the
    # journal mode waits too.
    "busy_timeout": 30_000,
    # Readers and the writer do not block each other. The mode is stored in the file.
    "journal_mode": "WAL",
    # In WAL mode, NORMAL can lose the last commits on a power cut: an upload that YouTube
    # acknowledged would be repeated. FULL syncs the log at every commit.
    "synchronous": "FULL",
    # SQLite enforces foreign keys only on connections that enable it.
    "foreign_keys": "ON",
}
"""The settings of every SQLite connection; see https://sqlite.org/pragma.html."""

# Limit on the attempts to set WAL mode while other processes do so. One of them succeeds each time.
_JOURNAL_MODE_ATTEMPTS = 100

# SQLAlchemy's default of at most 15 connections suits servers. A task keeps its connection
# while it awaits other things, so a sixteenth task would have to wait. SQLite has no such limit.
_ASYNC_SQLITE_POOL = {"pool_size": 50, "max_overflow": 50}

# The async driver by the sync one, so that one SHORTSDB_URL serves both kinds of engine.
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
    """Return an engine on the pipeline's database with the guarantees of `shortsdb.engine`.

    A connection with the isolation level AUTOCOMMIT takes no lock and begins no transaction. A
    database in memory has one connection, see `SharedConnectionPool`. PostgreSQL transactions are
    READ COMMITTED unless `isolation_level` is given; read-only ones are REPEATABLE READ. Under
    REPEATABLE READ and SERIALIZABLE, explicit transactions can conflict too, because the snapshot
    is taken before the wait for the write lock. Statements are not prepared on PostgreSQL, see
    `shortsdb.url.connect_args`.

    Args:
        url: The database as a URL, with a sync or async driver, or as a path. The default is
            SHORTSDB_URL, then `shortsdb.settings.DEFAULT_URL`.
        schema: The schema of a PostgreSQL database that contains the tables. Unqualified names
            refer only to it, whatever the search_path. The default is SHORTSDB_SCHEMA, then the
            first schema of the search_path.
        pragmas: Settings that override or extend `PRAGMAS`; None keeps the setting of the file or
            SQLite's default. PostgreSQL uses only `busy_timeout`, the longest wait for the write
            lock in milliseconds; None means the server's `lock_timeout`.
        options: Passed to `sqlalchemy.create_engine`.

    Raises:
        sqlalchemy.exc.ArgumentError: The URL is malformed, or `schema` is given for SQLite.
        ModuleNotFoundError: The driver is not installed.
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
    """Return an engine for asyncio (extra: async), otherwise like that of `create_engine`.

    Await its `dispose()` before the event loop ends: every connection to SQLite has a thread. An
    engine on a SQLite file keeps up to 50 connections open and opens at most 100.

    Raises:
        sqlalchemy.exc.ArgumentError: The URL is malformed.
        ModuleNotFoundError: The driver is not installed.
    """
    with extra("async", "greenlet"):
        import_module("greenlet")  # SQLAlchemy would fail only at the first await
        from sqlalchemy.ext import asyncio  # noqa: PLC0415 - as above

    resolved = _resolve(url, _ASYNC_DRIVERS)
    options = _engine_options(resolved, AsyncSharedConnectionPool, options)
    with extra("async", "aiosqlite"), extra("postgres", "psycopg"):
        engine = asyncio.create_async_engine(resolved, **options)
    _prepare(engine.sync_engine, schema, pragmas)
    return engine


def _resolve(given: str | os.PathLike[str] | URL | None, drivers: Mapping[str, str]) -> URL:
    """Return the given URL, or the one in the environment, with a driver of the right kind."""
    url = urls.parse(given or database_url() or DEFAULT_URL)
    if urls.file(url) is not None:
        # An absolute path still names the same file after the process changes its folder.
        url = url.set(database=os.path.abspath(str(url.database)))  # noqa: PTH100 - resolves no link
    return url.set(drivername=drivers.get(url.drivername, url.drivername))


def _engine_options(
    url: URL, pool: type[SharedConnectionPool], options: dict[str, Any]
) -> dict[str, Any]:
    """Return the engine's options with the defaults for its kind of database.

    A restarted server has closed all connections; `pool_pre_ping` finds that out before a request
    fails. Under READ COMMITTED a transaction that waited for the write lock sees the commits made
    during the wait. For a database in memory, SQLAlchemy's own pools would give each thread a
    separate database, or run several sessions in one transaction.
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
    """Configure the connections of an engine and its transactions."""
    if engine.dialect.name != "sqlite":
        event.listen(engine, "connect", use_iso_dates)
        schema = schema or default_schema()
    elif schema is not None:
        raise ArgumentError("SQLite has no schemas; give each channel a file of its own")
    guard_forks(engine)  # first, because its listeners replace the connections of the others
    settings = {**PRAGMAS, **(pragmas or {})}
    if engine.dialect.name == "sqlite":
        _set_connections(engine, settings)
        if urls.file(engine.url) is not None:
            # The path is not resolved, because a link may later lead to another file.
            guard_replaced_file(engine, Path(str(engine.url.database)))
    timeout = settings["busy_timeout"]
    # In PostgreSQL 0 means forever.
    track_transactions(engine, None if timeout is None else max(1, int(timeout)), schema)


def _set_connections(engine: Engine, settings: Mapping[str, str | int | None]) -> None:
    def connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        if connection.isolation_level is not None:  # it is None on an AUTOCOMMIT engine
            # `shortsdb.engine.transactions` begins the transactions, but does not see statements
            # on a raw connection. This makes sqlite3 begin one, so that a rollback undoes them.
            connection.isolation_level = "IMMEDIATE"
        _apply(settings, connection)

    def checkout(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        # A setting that the caller changed lasts until the connection is returned.
        if record.info.pop(SETTINGS_CHANGED, False):
            _apply(settings, connection)

    event.listen(engine, "connect", connect)
    event.listen(engine, "checkout", checkout)


def _apply(settings: Mapping[str, str | int | None], connection: DBAPIConnection) -> None:
    with closing(connection.cursor()) as cursor:
        for name, value in settings.items():
            if value is None:
                continue
            if name == "journal_mode":
                _set_journal_mode(cursor, str(value))
            else:
                cursor.execute(f"PRAGMA {name} = {value}")


def _set_journal_mode(cursor: DBAPICursor, mode: str) -> None:
    """Set the journal mode, waiting for other connections that use the old one.

    SQLite itself does not wait: when several processes open a new file, their connections would
    fail with "database is locked".
    """
    for _ in range(_JOURNAL_MODE_ATTEMPTS):
        try:
            cursor.execute(f"PRAGMA journal_mode = {mode}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in {
                sqlite3.SQLITE_READONLY,
                sqlite3.SQLITE_READONLY_DIRECTORY,
            }:
                return  # a user with read access only keeps the mode of the file
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            # Unlike the PRAGMA, BEGIN EXCLUSIVE waits for busy_timeout.
            cursor.execute("BEGIN EXCLUSIVE")
            cursor.execute("ROLLBACK")
        else:
            return
    cursor.execute(f"PRAGMA journal_mode = {mode}")
