"""Engines and session factories, sync and async, whose transactions never lose an update."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine as _create_engine
from sqlalchemy import event
from sqlalchemy.exc import InvalidRequestError, MissingGreenlet
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool
from sqlalchemy.util.concurrency import in_greenlet

from shortsdb import url as urls
from shortsdb.config import DEFAULT_URL
from shortsdb.follow import follow
from shortsdb.fork import guard_forks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import URL, Connection, Engine, ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
    from sqlalchemy.orm import ORMExecuteState
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

_READ_ONLY = "shortsdb_read_only"
READ_ONLY_OPTIONS = {_READ_ONLY: True, "postgresql_readonly": True}
"""Execution options with which an engine or a connection cannot write.

The first is for SQLite and ours, the second SQLAlchemy's for SET TRANSACTION READ ONLY.
"""

# How often to try for WAL mode while others try too: one of them succeeds every time.
_JOURNAL_MODE_ATTEMPTS = 100

# The same database by the other kind of driver: one SHORTSDB_URL serves both kinds of engine.
_ASYNC_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+pysqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
}


class ReadOnlyError(InvalidRequestError):
    """A statement would have written through a read-only session on SQLite."""


def create_engine(
    url: str | os.PathLike[str] | URL | None = None,
    *,
    pragmas: Mapping[str, str | int | None] | None = None,
    **options: Any,  # noqa: ANN401 - SQLAlchemy's own
) -> Engine:
    """Return an engine on the pipeline's database.

    On SQLite every transaction begins IMMEDIATE, that is with the write lock, so that what it
    reads is still true when it writes: hold none open over long work. A second writer waits for
    `busy_timeout`. A connection with the isolation level AUTOCOMMIT begins no transaction, for
    VACUUM and the like. A database in memory has one connection, which transactions take turns on.

    On PostgreSQL transactions go on side by side, isolated as REPEATABLE READ: who would change a
    row that another has changed since is refused (OperationalError, "could not serialize access"),
    and runs the transaction again. Under its default, READ COMMITTED, the other's change would be
    lost without a word; `isolation_level` sets that.

    Args:
        url: The database, by URL or path, whichever driver it names. Without one SHORTSDB_URL
            counts, then `shortsdb.config.DEFAULT_URL`.
        pragmas: Settings that win over `PRAGMAS` or come on top, for SQLite only; None leaves one
            as the file or SQLite has it.
        options: For `sqlalchemy.create_engine`.

    Raises:
        sqlalchemy.exc.ArgumentError: The URL is malformed.
        ModuleNotFoundError: Its driver is not installed.
    """
    resolved = _resolve(url, urls.SYNC_DRIVERS)
    engine = _create_engine(resolved, **_engine_options(resolved, QueuePool, options))
    _prepare(engine, pragmas)
    return engine


def create_async_engine(
    url: str | os.PathLike[str] | URL | None = None,
    *,
    pragmas: Mapping[str, str | int | None] | None = None,
    **options: Any,  # noqa: ANN401 - SQLAlchemy's own
) -> AsyncEngine:
    """Return an engine for asyncio (extra: async); see `create_engine`, all of which holds.

    Await its `dispose()` before the event loop ends: every connection to SQLite has a thread.

    Raises:
        sqlalchemy.exc.ArgumentError: The URL is malformed.
        ModuleNotFoundError: Its driver is not installed.
    """
    from sqlalchemy.ext import asyncio  # noqa: PLC0415 - needs the extra `async`

    resolved = _resolve(url, _ASYNC_DRIVERS)
    options = _engine_options(resolved, AsyncAdaptedQueuePool, options)
    engine = asyncio.create_async_engine(resolved, **options)
    _prepare(engine.sync_engine, pragmas)
    return engine


def session_factory(engine: Engine, *, read_only: bool = False) -> sessionmaker[Session]:
    """Return a factory of sessions.

    A commit expires what was loaded, so that the next access reads it again, in a new transaction
    which ends with the next commit, rollback or close.

    Args:
        engine: Of `create_engine`.
        read_only: Sessions that cannot write, and on SQLite neither take the write lock nor wait
            for who has it: they read what was committed when they began. A write raises
            `ReadOnlyError` there, and the driver's error on PostgreSQL.
    """
    return sessionmaker(engine.execution_options(**READ_ONLY_OPTIONS) if read_only else engine)


def async_session_factory(
    engine: AsyncEngine, *, read_only: bool = False
) -> async_sessionmaker[AsyncSession]:
    """Return a factory of sessions for asyncio; `read_only` as for `session_factory`.

    A commit expires nothing, because an attribute cannot await: what was loaded stays readable, as
    it was. `get`, `execute` and the like read rows anew even so; to change a value by what it is,
    load it in the same transaction. A rollback does expire.

    A relationship that is not loaded raises MissingGreenlet on access. Load it in the query
    (`selectinload`), or by `await session.refresh(row, ["clips"])`, or work inside
    `session.run_sync`.
    """
    from sqlalchemy.ext import asyncio  # noqa: PLC0415 - as above

    return asyncio.async_sessionmaker(
        engine.execution_options(**READ_ONLY_OPTIONS) if read_only else engine,
        expire_on_commit=False,
        sync_session_class=_RereadingSession,
    )


class _RereadingSession(Session):
    """A session that reads rows anew although no commit expired them.

    Else `get` would answer from the session what another process has changed meanwhile, and an
    update computed from that would be lost.
    """

    def get(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - Session's signature
        """Return the row of a primary key as it is in the database, see `Session.get`."""
        # Not where a flush does not come first: unsaved changes would be overwritten.
        if self.autoflush:
            options["populate_existing"] = True
        return super().get(*args, **options)


@event.listens_for(_RereadingSession, "do_orm_execute")
def _reread(state: ORMExecuteState) -> None:
    if not in_greenlet():
        # Here and not in the driver, which would leave a coroutine that nobody awaits.
        raise MissingGreenlet(
            "this attribute is not loaded, and an attribute cannot await: load it in the query, by "
            "session.refresh, or inside session.run_sync"
        )
    of_rows = state.is_select and not state.is_column_load and not state.is_relationship_load
    if of_rows and state.session.autoflush:
        state.update_execution_options(populate_existing=True)


def _resolve(given: str | os.PathLike[str] | URL | None, drivers: Mapping[str, str]) -> URL:
    """Return the URL of what the caller gave or the environment says, on the kind of driver."""
    given = given or os.environ.get("SHORTSDB_URL")
    if not given:
        given = DEFAULT_URL
    url = urls.parse(given)
    if urls.file(url) is not None:
        # The same file whatever folder the process goes to later.
        url = url.set(database=os.path.abspath(str(url.database)))  # noqa: PTH100 - resolves no link
    return url.set(drivername=drivers.get(url.drivername, url.drivername))


def _engine_options(url: URL, pool: type[QueuePool], options: dict[str, Any]) -> dict[str, Any]:
    """Return options with which the pool recovers, and a database in memory has one connection.

    A server that was restarted has closed all connections: a ping finds out, before a request
    fails for it. For a database in memory SQLAlchemy's pools would give every thread a database of
    its own, or put the transactions of several sessions into one.
    """
    if url.get_backend_name() != "sqlite":
        return {"pool_pre_ping": True, "isolation_level": "REPEATABLE READ", **options}
    if not urls.in_memory(url) or "poolclass" in options:
        return options
    return {
        "poolclass": pool,
        "pool_size": 1,
        "max_overflow": 0,
        **options,
        "connect_args": {"check_same_thread": False, **options.get("connect_args", {})},
    }


def _prepare(engine: Engine, pragmas: Mapping[str, str | int | None] | None) -> None:
    """Let SQLite's connections and transactions be what this module says."""
    guard_forks(engine)
    if engine.dialect.name != "sqlite":
        return
    settings = {**PRAGMAS, **(pragmas or {})}

    def connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # None: the sqlite3 module begins nothing by itself, so that `_begin` decides.
        connection.isolation_level = None
        cursor = connection.cursor()
        for name, value in settings.items():
            if value is None:
                continue
            if name == "journal_mode":
                _set_journal_mode(cursor, str(value))
            else:
                cursor.execute(f"PRAGMA {name} = {value}")
        cursor.close()

    event.listen(engine, "connect", connect)
    if urls.file(engine.url) is not None:
        follow(engine, Path(str(engine.url.database)))  # a link, too, may come to mean another file
    event.listen(engine, "begin", _begin)
    event.listen(engine, "commit", _allow_writes)
    event.listen(engine, "rollback", _allow_writes)
    event.listen(engine, "handle_error", _explain_refused_write)


def _set_journal_mode(cursor: DBAPICursor, mode: str) -> None:
    """Set the journal mode, after whoever uses the file in another one.

    SQLite does not wait by itself: on a new file, connections of several processes would fail
    with "database is locked".
    """
    for _ in range(_JOURNAL_MODE_ATTEMPTS):
        try:
            cursor.execute(f"PRAGMA journal_mode = {mode}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            # This one waits, for busy_timeout.
            cursor.execute("BEGIN EXCLUSIVE")
            cursor.execute("ROLLBACK")
        else:
            return
    cursor.execute(f"PRAGMA journal_mode = {mode}")


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    read_only = bool(options.get(_READ_ONLY))
    # A read-only session that was dropped instead of closed has left it on.
    _set_query_only(connection, on=read_only)
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    if read_only:
        connection.exec_driver_sql("BEGIN")
    else:
        # A plain BEGIN would take the write lock at the first write, and fail without waiting when
        # another has written since the first read.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _allow_writes(connection: Connection) -> None:
    """Undo query_only before the connection goes back to the pool."""
    if not connection.invalidated:
        _set_query_only(connection, on=False)


def _set_query_only(connection: Connection, *, on: bool) -> None:
    # Whether it is on is remembered with the driver's connection: most transactions find it right.
    if connection.info.get(_READ_ONLY, False) is on:
        return
    # Unknown, should a cancelled task end here.
    connection.info[_READ_ONLY] = None
    # Not through SQLAlchemy, which would make a short read a third longer.
    cursor = connection.connection.cursor()
    cursor.execute(f"PRAGMA query_only = {on}")
    cursor.close()
    connection.info[_READ_ONLY] = on


def _explain_refused_write(context: ExceptionContext) -> None:
    connection = context.connection
    # SQLite says the same of a file that must not be written to.
    refused = getattr(context.original_exception, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY
    if refused and connection is not None and connection.get_execution_options().get(_READ_ONLY):
        raise ReadOnlyError(f"a read-only session cannot write: {context.statement}")
