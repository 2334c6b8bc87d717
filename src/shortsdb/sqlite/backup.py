"""Backups: checked copies of an SQLite database, made while it is in use."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from shortsdb import settings
from shortsdb.driver_errors import explain
from shortsdb.errors import OperationRefused
from shortsdb.log import get_logger, operation
from shortsdb.sqlite.backup_files import is_default, refuse_missing_folder, reserve
from shortsdb.sqlite.file_checks import refuse_unusable_file, refuse_without_space
from shortsdb.sqlite.files import behind_link, make_folder, open_folder, share
from shortsdb.sqlite.online_copy import connect_read_only, copy_to_new

if TYPE_CHECKING:
    from pathlib import Path

log = get_logger(__name__)


@operation()
def make_backup(
    file: Path,
    revision: str | None,
    folder: Path,
    kind: str = "manual",
    replaced_through: sqlite3.Connection | None = None,
) -> Path:
    """Copy a database as it was committed last, while others go on writing.

    The copy is written as `.partial`, checked for damage, made durable and only then given its
    name: what has the name of a backup is one. It is no more open than the database.

    Args:
        file: The database.
        revision: The revision it has, None for none, for the name of the copy.
        kind: Why it is made, one of `backup_files.KINDS`, likewise.
        folder: Where to. Only the default one is made if it is not there: a named one may be on a
            disk that is not mounted.
        replaced_through: A connection that keeps others out, when the database is about to be
            replaced by another: it is then copied as it is, damaged or not.

    Raises:
        OperationRefused: The copy could not be made, or shows that the database is damaged.
    """
    file = behind_link(file)
    settings.backup_keep()  # else it would be refused only when old ones are to be deleted
    try:
        if replaced_through is not None:
            return _make_backup(
                file, file.stat(), (revision, kind), folder, replaced_through, check=False
            )
        refuse_unusable_file(file, changes=False)
        found = file.stat()
        with closing(connect_read_only(file, found)) as source:
            return _make_backup(file, found, (revision, kind), folder, source, check=True)
    except OSError as error:
        raise OperationRefused(
            f"{file}: the backup in {folder} failed ({error.strerror}); nothing was changed"
        ) from error
    except sqlite3.Error as error:
        # Only the copy is written.
        full = error.sqlite_errorname == "SQLITE_FULL"
        explained = explain(error, f"the backup in {folder}" if full else str(file))
        raise OperationRefused(
            f"{explained}; the backup in {folder} failed, nothing was changed"
        ) from error


def _make_backup(  # noqa: PLR0913 - private, and all of it is needed
    file: Path,
    found: os.stat_result,
    name: tuple[str | None, str],
    folder: Path,
    source: sqlite3.Connection,
    *,
    check: bool,
) -> Path:
    refuse_missing_folder(folder, file)
    if is_default(folder, file):
        make_folder(folder, found)
    with open_folder(folder) as descriptor, reserve(file, *name, folder, descriptor) as copy:
        backup = copy.path.with_suffix("")
        (pages,) = source.execute("PRAGMA page_count").fetchone()
        (page_size,) = source.execute("PRAGMA page_size").fetchone()
        refuse_without_space(file, folder, pages * page_size)
        # Made durable below, all at once.
        copy_to_new(source, file, found, copy, f"backup of {file}")
        if check:
            refuse_damaged(copy.path, str(file), os.fstat(copy.descriptor))
        share(copy.descriptor, file, found, folder)
        os.fsync(copy.descriptor)
        copy.rename(backup.name)
    log.info("backup of %s: %s", file, backup)
    return backup


def refuse_damaged(copy: Path, name: str, expected: os.stat_result | None = None) -> None:
    """Look for damage in a copy.

    Args:
        copy: A database that nobody writes to.
        name: The database that it is a copy of.
        expected: What is known of the copy's file, if that was looked at before.

    Raises:
        OperationRefused: It is damaged.
        sqlite3.DatabaseError: It is too damaged to read.
    """
    with closing(connect_read_only(copy, expected, immutable=True)) as connection:
        problems = [row[0] for row in connection.execute("PRAGMA quick_check(100)")]
    if problems != ["ok"]:
        # Each problem may itself be several lines.
        lines = [line for problem in problems for line in problem.splitlines() if line[:3] != "***"]
        more = f" and {len(lines) - 1} more problems" if len(lines) > 1 else ""
        raise OperationRefused(
            f"{name} is damaged: {lines[0]}{more}; nothing was changed. Restore the last backup, "
            "or salvage what is left with the sqlite3 program's .recover"
        )
