"""Health: is this database reachable, current and sound?"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shortsdb import settings
from shortsdb.bounded_calls import BoundedCalls
from shortsdb.errors import OperationRefused
from shortsdb.migration import BASELINES, revision_ids
from shortsdb.printable import VALUE_LENGTH, one_line, printable
from shortsdb.sqlite.backup_files import backups_of, folder_for
from shortsdb.sqlite.connection import values
from shortsdb.sqlite.file_checks import refuse_unusable_file
from shortsdb.sqlite.foreign_keys import broken_keys
from shortsdb.sqlite.version import Version, read_version, reading, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from shortsdb.sqlite.connection import Connection as SQLiteConnection

# `shortsdb health` of a SQLite file needs no SQLAlchemy, which takes a third of a second to import:
# functions of engines import what they use.

_SERVER_TIMEOUT_SECONDS = 30.0

# Of a program that runs as one user for another; not every system can be asked.
_EFFECTIVE_IDS = os.access in os.supports_effective_ids


@dataclass(frozen=True, kw_only=True)
class Health:
    """What was found of a database.

    Attributes:
        reachable: Whether it could be read.
        revision: The revision it is at; None if it has none or could not be read.
        shape: The revision whose tables a SQLite database without a version has, such as a
            deployed one; `upgrade` adopts it there. None if it has a version or no table of ours.
        head: The newest revision that this release knows.
        known: Whether this release knows `revision`, or recognises the tables of a SQLite database
            that has none; one without tables is known.
        pending: The revisions after `revision` or `shape`, oldest first; all of them where there is
            neither.
        writable: Whether this engine could write: False for a standby, a server that is set to
            read-only transactions, and a file, a folder or a connection that cannot be written.
            None if it could not be read, or if the engine is a read-only one itself.
        foreign_keys: Whether connections of this engine enforce foreign keys.
        journal_mode: SQLite's; None for others.
        free_bytes: What is free on the file system of a SQLite file; None for others.
        last_backup: The path of the newest backup of a SQLite file; None for none, and for others.
        latency_seconds: What connecting and reading the revision took; None if that failed.
        problems: What is wrong, one sentence each, without a path, host, password or SQL in it.
        error: The driver's own words on why it could not be read, for operators only: they may
            tell hosts and users.

    What comes from the database, such as `revision`, is shortened to 200 characters, and characters
    that cannot be printed are escaped.
    """

    reachable: bool
    revision: str | None = None
    shape: str | None = None
    head: str
    known: bool = True
    pending: tuple[str, ...] = ()
    writable: bool | None = None
    foreign_keys: bool | None = None
    journal_mode: str | None = None
    free_bytes: int | None = None
    last_backup: str | None = None
    latency_seconds: float | None = None
    problems: tuple[str, ...] = ()
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


CALLS: BoundedCalls[Health] = BoundedCalls()
"""The calls of `check_db_health`, of which some may hang."""


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
        return _unanswered(timeout)


def check_file_health(
    file: Path,
    *,
    backup: str | None = None,
    thorough: bool = True,
    timeout_seconds: float | None = None,
) -> Health:
    """Do as `check_db_health` for a SQLite file, without an engine and without setting WAL mode.

    Raises:
        OperationRefused: It is no file that could be a database, such as a folder.
    """
    refuse_unusable_file(file, changes=False)
    look = partial(_look_at_file, file, backup, thorough=thorough)
    if timeout_seconds is None:
        return look()
    try:
        return CALLS.call((file, backup, thorough), look, timeout_seconds)
    except TimeoutError:
        return _unanswered(timeout_seconds)


async def check_db_health_async(
    engine: AsyncEngine,
    *,
    backup: str | None = None,
    thorough: bool = True,
    timeout_seconds: float | None = None,
) -> Health:
    """Do as `check_db_health`; a call that outlasts the timeout goes on as a task of the loop."""
    from sqlalchemy.util import greenlet_spawn  # noqa: PLC0415 - see above

    sync_engine = engine.sync_engine
    look = partial(greenlet_spawn, _look, sync_engine, backup, thorough=thorough)
    timeout = _timeout(sync_engine, timeout_seconds)
    try:
        return await CALLS.call_async((sync_engine, backup, thorough), look, timeout)
    except TimeoutError:
        return _unanswered(timeout or 0)


def _timeout(engine: Engine, given: float | None) -> float | None:
    from shortsdb import url  # noqa: PLC0415 - see above

    if url.in_memory(engine.url):
        return None  # in another thread it may be another database
    if given is None and engine.dialect.name != "sqlite":
        return _SERVER_TIMEOUT_SECONDS
    return given


def _unanswered(timeout: float) -> Health:
    problem = f"it has not answered within {timeout:g} s"
    return Health(reachable=False, head=revision_ids()[-1], problems=(problem,))


def _look(engine: Engine, backup: str | None, *, thorough: bool) -> Health:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - see above

    from shortsdb import url  # noqa: PLC0415 - see above
    from shortsdb.engine import READ_ONLY_OPTIONS  # noqa: PLC0415 - see above

    # Connecting would create the file.
    file = url.file(engine.url)
    if file is not None and not os.path.exists(file):  # noqa: PTH110 - raises nothing
        return _unreachable("the file is not there")
    wanted = not _is_read_only(engine)
    begun = time.perf_counter()
    try:
        with engine.execution_options(**READ_ONLY_OPTIONS).connect() as connection:
            if connection.dialect.name != "sqlite":
                return _of_server(connection, begun, writable_wanted=wanted)
            # First: the transaction that begins with the next statement is read-only itself.
            query_only = _query_only(connection)
            connection.exec_driver_sql("SELECT 1")  # begins it
            unwritable = _why_unwritable_file(file, query_only=query_only) if wanted else None
            return _of_sqlite(
                connection.connection,
                file,
                backup,
                begun,
                thorough=thorough,
                writable=None if not wanted else unwritable is None,
                unwritable=unwritable,
            )
    except (SQLAlchemyError, sqlite3.Error) as error:
        return _unreachable("it cannot be reached or read", getattr(error, "orig", None) or error)


def _look_at_file(file: Path, backup: str | None, *, thorough: bool) -> Health:
    if not os.path.exists(file):  # noqa: PTH110 - raises nothing
        return _unreachable("the file is not there")
    begun = time.perf_counter()
    try:
        with reading(file, foreign_keys=True) as connection:
            unwritable = _why_unwritable_file(file, query_only=False)
            return _of_sqlite(
                connection,
                file,
                backup,
                begun,
                thorough=thorough,
                writable=unwritable is None,
                unwritable=unwritable,
            )
    except sqlite3.Error as error:
        return _unreachable("it cannot be reached or read", error)


def _unreachable(problem: str, error: BaseException | None = None) -> Health:
    return Health(
        reachable=False,
        head=revision_ids()[-1],
        problems=(problem,),
        error=one_line(error) if error else None,
    )


def _of_sqlite(  # noqa: PLR0913 - private, and all of it is needed
    connection: SQLiteConnection,
    file: Path | None,
    backup: str | None,
    begun: float,
    *,
    thorough: bool,
    writable: bool | None,
    unwritable: str | None,
) -> Health:
    version = read_version(connection, revision_ids(), BASELINES, "it")
    latency = time.perf_counter() - begun
    foreign_keys = bool(_pragma(connection, "foreign_keys"))
    return Health(
        reachable=True,
        revision=version.revision,
        shape=version.shape,
        head=revision_ids()[-1],
        known=version.known,
        pending=version.pending,
        writable=writable,
        foreign_keys=foreign_keys,
        journal_mode=str(_pragma(connection, "journal_mode")),
        free_bytes=_free_bytes(file) if file else None,
        last_backup=_last_backup(file, backup) if file else None,
        latency_seconds=latency,
        problems=(
            *_problems(version, foreign_keys=foreign_keys),
            *([unwritable] if unwritable else []),
            *(_damage(connection) if thorough else []),
        ),
    )


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
            *_problems(version, foreign_keys=True),
            *([unwritable] if unwritable else []),
        ),
    )


def _versions(connection: Connection) -> Sequence[object]:
    """Return what the version table of a server says."""
    from sqlalchemy import inspect, text  # noqa: PLC0415 - see above

    if not inspect(connection).has_table("alembic_version"):
        return []
    return connection.scalars(text("SELECT version_num FROM alembic_version")).all()


def _is_read_only(engine: Engine) -> bool:
    """Return whether the engine was made not to write."""
    from shortsdb.engine import READ_ONLY_OPTIONS  # noqa: PLC0415 - see above

    options = engine.get_execution_options()
    return (
        any(options.get(option) for option in READ_ONLY_OPTIONS)
        or engine.url.query.get("mode") == "ro"
        or bool(engine.url.query.get("immutable"))
    )


def _query_only(connection: Connection) -> bool:
    """Return whether a SQLite connection refuses to write, before our own transaction makes it."""
    from shortsdb.engine import READ_ONLY_OPTIONS  # noqa: PLC0415 - see above

    # A read-only session that was dropped instead of closed has left it on; the next one that
    # writes sets it off.
    if any(map(connection.info.get, READ_ONLY_OPTIONS)):
        return False
    cursor = connection.connection.cursor()  # not through SQLAlchemy, which would begin
    cursor.execute("PRAGMA query_only")
    row = cursor.fetchone()
    cursor.close()
    return bool(row and row[0])


def _why_unwritable_file(file: Path | None, *, query_only: bool) -> str | None:
    """Return why a SQLite file cannot be written, None if it can as far as can be told.

    SQLite itself would only tell on a write, for which a health check must not wait.
    """
    if query_only:
        return "it is read-only: connections of this engine are set to query_only"
    if file is None:
        return None
    for path, problem in (
        (file, "it is read-only: the file cannot be written"),
        (file.parent, "it is read-only: the folder cannot be written, and SQLite needs it"),
        (file.with_name(f"{file.name}-wal"), "it is read-only: the -wal file cannot be written"),
        (file.with_name(f"{file.name}-shm"), "it is read-only: the -shm file cannot be written"),
    ):
        if os.path.lexists(path) and not os.access(path, os.W_OK, effective_ids=_EFFECTIVE_IDS):
            return problem
    return None


def _why_unwritable_server(connection: Connection) -> str | None:
    """Return why a server takes no writes, None if it does."""
    from sqlalchemy import text  # noqa: PLC0415 - see above

    if connection.scalar(text("SELECT pg_is_in_recovery()")):
        return "it is read-only: the server is a standby"
    if connection.scalar(text("SHOW default_transaction_read_only")) == "on":
        return "it is read-only: default_transaction_read_only is on"
    return None


def _shown(value: object) -> str:
    """Return a value of the database as one printable line that is not too long."""
    return printable(value, VALUE_LENGTH)


def _pragma(connection: SQLiteConnection, name: str) -> object:
    return values(connection, f"PRAGMA {name}")[0]


def _free_bytes(file: Path) -> int | None:
    try:
        return shutil.disk_usage(file.parent).free
    except OSError:  # as below
        return None


def _last_backup(file: Path, backup: str | None) -> str | None:
    try:
        folder = folder_for(file, backup or settings.backup())
        backups = backups_of(file, folder) if folder else []
    except (OSError, OperationRefused):  # a folder that this user cannot look into
        return None
    return str(backups[-1]) if backups else None


def _problems(version: Version, *, foreign_keys: bool) -> Iterator[str]:
    if not version.known and version.revision is None:
        yield "it has no version, and its tables are those of no revision that this release knows"
    elif not version.known:
        yield f"it is at revision {version.revision}, which this release does not know"
    if version.pending:
        yield f"revisions are pending: {', '.join(version.pending)}"
    if not foreign_keys:
        yield "connections of this engine do not enforce foreign keys"


def _damage(connection: SQLiteConnection) -> Iterator[str]:
    for message in values(connection, "PRAGMA quick_check"):
        if message != "ok":
            yield f"the file is damaged: {_shown(message)}"
    for key in broken_keys(connection):
        yield (
            f"{key.rows} rows of {_shown(key.table)} point to rows of "
            f"{_shown(key.referred_table)} that are not there"
        )
