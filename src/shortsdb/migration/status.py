"""Looks at a database without changing it: its version, what is pending, what is broken."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from shortsdb import url as urls
from shortsdb.driver_errors import explain
from shortsdb.log import get_logger
from shortsdb.migration.adopt import recognise, refuse_leftovers
from shortsdb.migration.database import connectable, display_name
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.plan import known_revisions
from shortsdb.migration.shape import table_names
from shortsdb.migration.transaction import reading
from shortsdb.printable import VALUE_LENGTH, printable
from shortsdb.sqlite.backup import backups_of, folder_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from alembic.script import ScriptDirectory
    from sqlalchemy import URL, Connection

log = get_logger(__name__)


@dataclass(frozen=True)
class Status:
    """What a database is, as far as a migration cares.

    `revision` is what the version table says. An unversioned SQLite database has none, but may have
    the `shape` of one. `misfit` says why an upgrade would refuse what is in it: it has no version
    and fits no shape, or a rebuild was interrupted. `known` is whether this release knows that
    revision or shape, and would upgrade it. The last four are None for what is no SQLite file.
    """

    database: str
    revision: str | None
    shape: str | None
    misfit: str | None
    known: bool
    head: str
    pending: list[str]
    exists: bool | None
    size_bytes: int | None
    journal_mode: str | None
    last_backup: str | None


@dataclass(frozen=True)
class BrokenKey:
    """A foreign key that rows violate, and how many of them do."""

    table: str
    columns: str
    referred_table: str
    rows: int


@contextmanager
def looking(url: URL) -> Iterator[Connection]:
    """Give a connection to a database that cannot write to it, in a transaction.

    Where there is no SQLite file it is one to an empty database in memory.

    Raises:
        MigrationRefused: The database cannot be opened or read.
    """
    try:
        with connectable(url, changes=False).connect() as connection, reading(connection):
            yield connection
    except (DBAPIError, sqlite3.Error) as error:  # PRAGMAs do not go through SQLAlchemy
        raise MigrationRefused(explain(error, display_name(url))) from error


def read_status(
    url: URL, script: ScriptDirectory, shapes: Mapping[str, str], backup: str | None
) -> Status:
    """Return the status of a database.

    Args:
        url: The database.
        script: The revisions.
        shapes: The DDL script of every revision that unversioned databases are known to have.
        backup: Where backups go, see `backup.folder_for`.

    Raises:
        MigrationRefused: It cannot be opened or read.
    """
    name = display_name(url)
    file = urls.file(url)
    shape = misfit = journal_mode = None
    with looking(url) as connection:
        migration = MigrationContext.configure(connection)
        versions = migration.get_current_heads()
        if connection.dialect.name == "sqlite":
            journal_mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
            try:
                if versions:
                    refuse_leftovers(connection, name)
                else:
                    shape = recognise(connection, shapes, migration.version_table, name)
            except MigrationRefused as refusal:
                misfit = str(refusal)
    known = known_revisions(script)
    at = next(iter(versions), shape)
    folder = folder_for(file, backup) if file else None
    try:
        backups = backups_of(file, folder) if file and folder else []
    except OSError as error:
        raise MigrationRefused(f"{name}: {folder} cannot be read ({error.strerror})") from error
    return Status(
        database=name,
        revision=printable(
            ", ".join(sorted(str(version) or "''" for version in versions)), VALUE_LENGTH
        )
        or None,
        shape=shape,
        misfit=misfit,
        known=at in known and not misfit,
        head=known[0],
        pending=_pending(known, at, misfit),
        exists=file.exists() if file else None,
        size_bytes=file.stat().st_size if file and file.exists() else None,
        journal_mode=journal_mode if file and file.exists() else None,
        last_backup=str(backups[-1]) if backups else None,
    )


def _pending(known: list[str], at: str | None, misfit: str | None) -> list[str]:
    """Return the revisions of `known` (newest first) after `at`, oldest first."""
    if misfit:
        return []
    if at is None:
        return known[::-1]
    return known[: known.index(at)][::-1] if at in known else []


def outdated(found: Status) -> str | None:
    """Return why a database cannot be compared with the models, None if it is at head."""
    name = found.database
    if found.misfit:
        return found.misfit
    if found.exists is False:
        return f"{name} does not exist; check the path (upgrade would create it)"
    if not found.known and found.revision:
        return (
            f"{name} is at revision {found.revision}, which this release does not know: upgrade "
            "the package, or check that this is the right database"
        )
    if found.pending:
        at = found.revision or (f"none, but the shape of {found.shape}" if found.shape else "none")
        return (
            f"{name} is behind the models: revision {at}, pending {', '.join(found.pending)}. "
            "Upgrade it, then look again"
        )
    return None


def broken_keys(connection: Connection) -> list[BrokenKey]:
    """Return the foreign keys that rows of a SQLite database violate; deployment enforced none."""
    return [key for table in table_names(connection) for key in _broken_keys(connection, table)]


def _broken_keys(connection: Connection, table: str) -> list[BrokenKey]:
    try:
        rows = connection.exec_driver_sql(
            "SELECT parent, fkid, count(*) FROM pragma_foreign_key_check(?) GROUP BY 1, 2"
            " ORDER BY 2",
            (table,),
        ).all()
    except DBAPIError as error:  # a table of other software whose key points to no key
        log.warning("the foreign keys of %s cannot be checked: %s", table, error.orig)
        return []
    return [
        BrokenKey(
            table,
            ", ".join(
                connection.exec_driver_sql(
                    'SELECT "from" FROM pragma_foreign_key_list(?) WHERE id = ? ORDER BY seq',
                    (table, number),
                ).scalars()
            ),
            parent,
            count,
        )
        for parent, number, count in rows
    ]


def rows_in(connection: Connection, tables: set[str]) -> dict[str, int]:
    """Return how many rows each of `tables` holds, those of them that are there."""
    there = tables.intersection(inspect(connection).get_table_names())
    quote = connection.dialect.identifier_preparer.quote_identifier
    return {
        table: connection.exec_driver_sql(f"SELECT count(*) FROM {quote(table)}").scalar_one()  # noqa: S608 - quoted
        for table in sorted(there)
    }
