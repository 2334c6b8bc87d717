"""The status of a database: which revision it is at, what is pending, when it was backed up.

Reads a SQLite file without SQLAlchemy and Alembic.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shortsdb.driver_errors import explain
from shortsdb.errors import OperationRefused
from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.revisions import revision_ids
from shortsdb.sqlite.backup_files import backups_of, folder_for
from shortsdb.sqlite.history import Applied, read_history
from shortsdb.sqlite.version import (
    VERSION_TABLE,
    Version,
    read_journal_mode,
    read_version,
    reading,
)

if TYPE_CHECKING:
    from pathlib import Path

    from shortsdb.target import Target


@dataclass(frozen=True)
class Status:
    """The state of a database that matters to a migration.

    `revision` is what the version table says. An unversioned database has none, but may have
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


def read_status(target: Target, backup: str | None) -> Status:
    """Return the status of a database.

    Args:
        target: The database.
        backup: Where backups go, see `backup_files.folder_for`.

    Raises:
        OperationRefused: It cannot be opened or read.
    """
    file, name = target.file, target.name
    version, journal_mode = read_file(file) if file else (_read_server(target), None)
    folder = folder_for(file, backup) if file else None
    try:
        backups = backups_of(file, folder) if file and folder else []
    except OSError as error:
        raise OperationRefused(f"{name}: {folder} cannot be read ({error.strerror})") from error
    exists = file.exists() if file else None
    return Status(
        database=name,
        revision=version.revision,
        shape=version.shape,
        misfit=version.misfit,
        known=version.known and bool(version.revision or version.shape),
        head=revision_ids()[-1],
        pending=list(version.pending),
        exists=exists,
        size_bytes=file.stat().st_size if file and exists else None,
        journal_mode=journal_mode if exists else None,
        last_backup=str(backups[-1]) if backups else None,
    )


def read_file(file: Path, *, immutable: bool = False) -> tuple[Version, str]:
    """Return the version of a SQLite file and its journal mode.

    Args:
        file: The database; where there is none it is an empty one.
        immutable: Nobody writes to the file, such as a backup.

    Raises:
        OperationRefused: It cannot be opened or read.
    """
    try:
        with reading(file, immutable=immutable) as connection:
            version = read_version(connection, revision_ids(), BASELINES, str(file))
            return version, read_journal_mode(connection, file)
    except sqlite3.Error as error:
        raise OperationRefused(explain(error, str(file))) from error


def _read_server(target: Target) -> Version:
    from shortsdb.migration.database import read_only_connection  # noqa: PLC0415 - as above
    from shortsdb.migration.postgresql_schema import read_server_version  # noqa: PLC0415 - as above

    with read_only_connection(target) as connection:
        return read_server_version(connection, target.name)


def versioned_schemas(target: Target) -> list[str]:
    """Return the schemas of a PostgreSQL database that have a version.

    Raises:
        OperationRefused: It cannot be read, or is of SQLite, which has no schemas.
    """
    target.in_schema("public")  # refuses SQLite
    from sqlalchemy import text  # noqa: PLC0415 - a file needs no SQLAlchemy

    from shortsdb.migration.database import read_only_connection  # noqa: PLC0415 - as above

    with read_only_connection(target) as connection:
        schemas = "SELECT schemaname FROM pg_tables WHERE tablename = :table ORDER BY 1"
        return list(connection.scalars(text(schemas), {"table": VERSION_TABLE}))


def read_applied(target: Target) -> list[Applied]:
    """Return what was applied to a database, see `sqlite.history`.

    Raises:
        OperationRefused: It does not exist, or cannot be opened or read.
    """
    file = target.file
    if file is None:
        from shortsdb.migration.database import read_only_connection  # noqa: PLC0415 - as above
        from shortsdb.migration.history import read_history as read  # noqa: PLC0415 - as above

        with read_only_connection(target) as server:
            return read(server)
    try:
        with reading(file) as connection:
            if not file.exists():
                raise OperationRefused(f"{file} does not exist")
            return read_history(connection)
    except sqlite3.Error as error:
        raise OperationRefused(explain(error, str(file))) from error


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
