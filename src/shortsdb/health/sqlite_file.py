"""Check the health of a SQLite file without SQLAlchemy, which is slow to import."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from shortsdb import settings
from shortsdb.errors import OperationRefused
from shortsdb.health.report import CALLS, Health, unanswered, unreachable, version_problems
from shortsdb.migration import BASELINES, revision_ids
from shortsdb.printable import VALUE_LENGTH, printable
from shortsdb.sqlite.backup_files import Backup, folder_for, is_missing, list_backups
from shortsdb.sqlite.connection import values
from shortsdb.sqlite.file_checks import CHANGE_BYTES, refuse_unusable_file
from shortsdb.sqlite.foreign_keys import broken_keys
from shortsdb.sqlite.version import read_journal_mode, read_version, reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shortsdb.sqlite.connection import Connection

# Whether os.access can check the effective user, which differs in a setuid program.
_EFFECTIVE_IDS = os.access in os.supports_effective_ids


def check_file_health(
    file: Path,
    *,
    backup: str | None = None,
    thorough: bool = True,
    read_only: bool = False,
    timeout_seconds: float | None = None,
) -> Health:
    """Do as `check_db_health` for a SQLite file, without an engine and without setting WAL mode.

    With `read_only` this user need not be able to write it, as one that monitors it.

    Raises:
        OperationRefused: The path cannot be a database, for example because it is a folder.
    """
    refuse_unusable_file(file, changes=False)
    check = partial(_check, file, backup, thorough=thorough, read_only=read_only)
    if timeout_seconds is None:
        return check()
    try:
        return CALLS.call((file, backup, thorough, read_only), check, timeout_seconds)
    except TimeoutError:
        return unanswered(timeout_seconds)


def _check(file: Path, backup: str | None, *, thorough: bool, read_only: bool) -> Health:
    if not os.path.exists(file):  # noqa: PTH110 - does not raise
        return unreachable("the file does not exist")
    begun = time.perf_counter()
    try:
        with reading(file, foreign_keys=True) as connection:
            return read_health(
                connection,
                file,
                backup,
                begun,
                thorough=thorough,
                writable_wanted=not read_only,
            )
    except (sqlite3.Error, OperationRefused) as error:
        report = unreachable("it cannot be reached or read", error)
        return replace(report, free_bytes=_free_bytes(file))


def read_health(  # noqa: PLR0913 - all of it is needed
    connection: Connection,
    file: Path | None,
    backup: str | None,
    begun: float,
    *,
    thorough: bool,
    writable_wanted: bool,
    query_only: bool = False,
) -> Health:
    """Return the report on a SQLite database.

    Args:
        connection: A connection in a read transaction.
        file: The file; None for a database in memory.
        backup: As for `check_db_health`.
        begun: The time before connecting, by `time.perf_counter`.
        thorough: As for `check_db_health`.
        writable_wanted: Whether a database that cannot be written is a problem.
        query_only: Whether the connection cannot write because the caller has set query_only.
    """
    version = read_version(connection, revision_ids(), BASELINES, "it")
    latency = time.perf_counter() - begun
    unwritable = _why_unwritable(file, query_only=query_only) if writable_wanted else None
    foreign_keys = values(connection, "PRAGMA foreign_keys") == [1]
    last_backup = _last_backup(file, backup) if file else None
    age = datetime.now(UTC) - last_backup.moment if last_backup else None
    free = _free_bytes(file) if file else None
    return Health(
        reachable=True,
        revision=version.revision,
        shape=version.shape,
        head=revision_ids()[-1],
        known=version.known,
        pending=version.pending,
        writable=unwritable is None if writable_wanted else None,
        foreign_keys=foreign_keys,
        journal_mode=read_journal_mode(connection, file),
        free_bytes=free,
        size_bytes=file.stat().st_size if file else None,
        last_backup=str(last_backup.path) if last_backup else None,
        last_backup_age_seconds=age.total_seconds() if age else None,
        latency_seconds=latency,
        problems=(
            *version_problems(version, foreign_keys=foreign_keys),
            *([unwritable] if unwritable else []),
            *(["its file system is full"] if free is not None and free < CHANGE_BYTES else []),
            *(["the folder for backups does not exist"] if file and _lost(file, backup) else []),
            *(_damage(connection) if thorough else []),
        ),
    )


def _why_unwritable(file: Path | None, *, query_only: bool) -> str | None:
    """Return why a SQLite file cannot be written, None if no reason was found.

    Only a write would be certain, but a health check must not wait for the write lock.
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


def _free_bytes(file: Path) -> int | None:
    with suppress(OSError):  # as below
        return shutil.disk_usage(file.parent).free
    return None


def _last_backup(file: Path, backup: str | None) -> Backup | None:
    try:
        folder = folder_for(file, backup or settings.backup())
        backups = list_backups(file, folder) if folder else []
    except (OSError, OperationRefused):  # the user may not read the folder
        return None
    return backups[-1] if backups else None


def _lost(file: Path, backup: str | None) -> bool:
    """Return whether the folder for backups is missing."""
    try:
        folder = folder_for(file, backup or settings.backup())
        return folder is not None and is_missing(folder, file)
    except (OSError, OperationRefused):  # as above
        return False


def _damage(connection: Connection) -> Iterator[str]:
    for message in values(connection, "PRAGMA quick_check"):
        if message != "ok":
            yield f"the file is damaged: {printable(message, VALUE_LENGTH)}"
    for key in broken_keys(connection):
        yield str(key)
