"""Health: is this database reachable, current and sound?"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import greenlet_spawn

from shortsdb import url
from shortsdb.bounded_calls import BoundedCalls
from shortsdb.engine import READ_ONLY_OPTIONS
from shortsdb.errors import OperationRefused
from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.revisions import revisions
from shortsdb.printable import VALUE_LENGTH, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

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
        return _unanswered(timeout or 0)


def _timeout(engine: Engine, given: float | None) -> float | None:
    if url.in_memory(engine.url):
        return None  # in another thread it may be another database
    if given is None and engine.dialect.name != "sqlite":
        return _SERVER_TIMEOUT_SECONDS
    return given


def _unanswered(timeout: float) -> Health:
    problem = f"it has not answered within {timeout:g} s"
    return Health(reachable=False, head=revisions()[-1], problems=(problem,))


def _look(engine: Engine, backup: str | None, *, thorough: bool) -> Health:
    known = revisions()
    # Connecting would create the file.
    file = url.file(engine.url)
    if file is not None and not os.path.exists(file):  # noqa: PTH110 - raises nothing
        return Health(reachable=False, head=known[-1], problems=("the file is not there",))
    begun = time.perf_counter()
    try:
        with engine.execution_options(**READ_ONLY_OPTIONS).connect() as connection:
            # First: the transaction that begins with the next statement is read-only itself.
            query_only = _query_only(connection)
            revision = _revision(connection)
            latency = time.perf_counter() - begun
            on_sqlite = connection.dialect.name == "sqlite"
            shape, fits = None, revision is None or revision in known
            if revision is None and on_sqlite:
                shape, fits = _shape(connection)
            foreign_keys = not on_sqlite or bool(_pragma(connection, "foreign_keys"))
            journal_mode = str(_pragma(connection, "journal_mode")) if on_sqlite else None
            unwritable = None
            if not _is_read_only(engine):
                unwritable = (
                    _why_unwritable_file(file, query_only=query_only)
                    if on_sqlite
                    else _why_unwritable_server(connection)
                )
            damage = list(_damage(connection)) if on_sqlite and thorough else []
    except SQLAlchemyError as error:
        return Health(
            reachable=False,
            head=known[-1],
            problems=("it cannot be reached or read",),
            error=one_line(getattr(error, "orig", None) or error),
        )
    at = revision or shape
    pending = known[known.index(at) + 1 if at else 0 :] if fits else []
    return Health(
        reachable=True,
        revision=None if revision is None else _shown(revision),
        shape=shape,
        head=known[-1],
        known=fits,
        pending=tuple(pending),
        writable=None if _is_read_only(engine) else unwritable is None,
        foreign_keys=foreign_keys,
        journal_mode=journal_mode,
        free_bytes=_free_bytes(file) if file else None,
        last_backup=_last_backup(file, backup) if file else None,
        latency_seconds=latency,
        problems=(
            *_problems(revision, pending, known=fits, foreign_keys=foreign_keys),
            *([unwritable] if unwritable else []),
            *damage,
        ),
    )


def _revision(connection: Connection) -> str | None:
    """Return what the version table says, several versions as one text; None for nothing."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    versions = connection.scalars(text("SELECT version_num FROM alembic_version"))
    # An empty one is a version too, of other software.
    return ", ".join(sorted(str(version) or "''" for version in versions)) or None


def _shape(connection: Connection) -> tuple[str | None, bool]:
    """Return whose shape a SQLite database without a version has, and whether upgrade takes it."""
    # Half a second that an application whose database has a version need not wait for.
    from shortsdb.migration.baseline import recognise  # noqa: PLC0415
    from shortsdb.migration.errors import MigrationRefused  # noqa: PLC0415

    try:
        return recognise(connection, BASELINES, "alembic_version", "it"), True
    except MigrationRefused:
        return None, False


def _is_read_only(engine: Engine) -> bool:
    """Return whether whoever made the engine wants it not to write."""
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
    if connection.dialect.name != "sqlite" or any(map(connection.info.get, READ_ONLY_OPTIONS)):
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
    if connection.scalar(text("SELECT pg_is_in_recovery()")):
        return "it is read-only: the server is a standby"
    if connection.scalar(text("SHOW default_transaction_read_only")) == "on":
        return "it is read-only: default_transaction_read_only is on"
    return None


def _shown(value: object) -> str:
    """Return a value of the database as one printable line that is not too long."""
    return printable(value, VALUE_LENGTH)


def _pragma(connection: Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def _free_bytes(file: Path) -> int | None:
    try:
        return shutil.disk_usage(file.parent).free
    except OSError:  # as below
        return None


def _last_backup(file: Path, backup: str | None) -> str | None:
    # Half a second that an application which asks for no health need not wait for.
    from shortsdb.sqlite.backup import backups_of, folder_for  # noqa: PLC0415

    try:
        folder = folder_for(file, backup or os.environ.get("SHORTSDB_BACKUP"))
        backups = backups_of(file, folder) if folder else []
    except (OSError, OperationRefused):  # a folder that this user cannot look into
        return None
    return str(backups[-1]) if backups else None


def _problems(
    revision: str | None, pending: list[str], *, known: bool, foreign_keys: bool
) -> Iterator[str]:
    if not known and revision is None:
        yield "it has no version, and its tables are those of no revision that this release knows"
    elif not known:
        yield f"it is at revision {_shown(revision)}, which this release does not know"
    if pending:
        yield f"revisions are pending: {', '.join(pending)}"
    if not foreign_keys:
        yield "connections of this engine do not enforce foreign keys"


def _damage(connection: Connection) -> Iterator[str]:
    from shortsdb.migration.status import broken_keys  # noqa: PLC0415 - as above

    for message in connection.exec_driver_sql("PRAGMA quick_check").scalars():
        if message != "ok":
            yield f"the file is damaged: {_shown(message)}"
    for key in broken_keys(connection):
        yield (
            f"{key.rows} rows of {_shown(key.table)} point to rows of "
            f"{_shown(key.referred_table)} that are not there"
        )
