"""Restore: puts a backup back over a SQLite database, under the database's own lock."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from shortsdb.driver_errors import explain, left_behind
from shortsdb.errors import OperationRefused
from shortsdb.log import get_logger, operation
from shortsdb.sqlite.backup import make_backup, refuse_damaged
from shortsdb.sqlite.file_checks import refuse_unusable_file, refuse_without_space
from shortsdb.sqlite.files import behind_link, create_file, open_folder, share
from shortsdb.sqlite.online_copy import connect, connect_read_only, copy_pages

if TYPE_CHECKING:
    from pathlib import Path

log = get_logger(__name__)


@operation()
def restore(backup: Path, file: Path, folder: Path | None, revision: str | None) -> Path | None:
    """Make `file` what `backup` is, and return the backup of what it was before.

    SQLite itself writes the pages, as one transaction of `file`: killed at any moment, the next one
    who opens it finds the old content or the new, and what an old -wal or -journal holds is
    recovered or discarded by SQLite before, never replayed after.

    Args:
        backup: A database that nobody writes to.
        file: The database to replace; made where there is none.
        folder: Where the backup of what is replaced goes; None for none.
        revision: The revision that `file` has now, for the name of that backup.

    Raises:
        OperationRefused: The backup is damaged or no database, or somebody uses `file`; it was
            left as it was.
    """
    backup, file = behind_link(backup), behind_link(file)
    try:
        refuse_unfinished(backup, file)
        _refuse_damaged(backup)
        old_bytes = file.stat().st_size if folder is not None and file.exists() else 0
        refuse_without_space(file, folder, old_bytes, change_bytes=backup.stat().st_size)
        return _restore(backup, file, folder, revision)
    except OSError as error:
        raise OperationRefused(f"{file}: {error.strerror}; nothing was restored") from error
    except sqlite3.Error as error:
        raise OperationRefused(
            f"{explain(error, str(file))}; {left_behind(error, 'restored')}"
        ) from error


def _refuse_damaged(backup: Path) -> None:
    try:
        refuse_damaged(backup, str(backup))
    except sqlite3.Error as error:
        raise OperationRefused(explain(error, str(backup))) from error


def refuse_unfinished(backup: Path, file: Path) -> None:
    """Look at a backup and the database it is for from outside, without opening either.

    Opening the backup would replay or discard what lies beside it.

    Raises:
        OperationRefused: The one cannot be put back over the other.
    """
    backup, file = behind_link(backup), behind_link(file)
    refuse_unusable_file(backup, changes=False, in_use=False)
    refuse_unusable_file(file, changes=True)
    if not backup.exists():
        raise OperationRefused(f"{backup} does not exist")
    for side in ("-wal", "-journal"):
        beside = backup.with_name(backup.name + side)
        if beside.exists() and beside.stat().st_size:
            raise OperationRefused(
                f"{backup} has {beside.name} beside it, so it is a database in use or a copy of "
                "half of one, not a backup; `shortsdb backup` makes one"
            )
    if file.exists() and file.samefile(backup):
        raise OperationRefused(f"{backup} is the database itself, not a backup of it")


def _restore(backup: Path, file: Path, folder: Path | None, revision: str | None) -> Path | None:
    replaced = None
    found = _made_if_missing(file, backup)
    with closing(connect(file, "mode=rw", found)) as target:
        # Keeps the lock from here to the end, also between transactions: nobody can write anything
        # that would be neither in the backup of what is replaced nor in what is restored. In WAL
        # mode nobody else can have the file open at all.
        target.execute("PRAGMA locking_mode = EXCLUSIVE")
        # A power cut just after a reported success must not bring back what was.
        target.execute("PRAGMA synchronous = EXTRA")
        target.execute("BEGIN EXCLUSIVE")
        target.execute("COMMIT")
        (pages,) = target.execute("PRAGMA page_count").fetchone()
        # A table has a page beside the first one, which a new file has by now.
        if pages > 1 and folder is not None:
            replaced = make_backup(file, revision, folder, "restore", replaced_through=target)
        with closing(connect_read_only(backup, immutable=True)) as source:
            if _page_size(source) != _page_size(target):
                # In WAL mode SQLite could not change it, and would say that it cannot write.
                target.execute("PRAGMA journal_mode = DELETE")
            copy_pages(source, target, f"restoring {file}")
    log.info("%s is what %s was; what it was before: %s", file, backup, replaced or "nothing kept")
    return replaced


def _made_if_missing(file: Path, backup: Path) -> os.stat_result:
    """Return what is known of the database's file, which is made for the backup if need be.

    It is never deleted again, whatever follows: once there, it may be in use.
    """
    with suppress(FileNotFoundError):
        return os.lstat(file)
    with open_folder(file.parent) as folder:
        with suppress(FileExistsError):
            descriptor = create_file(file.name, folder)
            try:
                share(descriptor, backup, backup.stat(), file.parent)
            finally:
                os.close(descriptor)
            os.fsync(folder)
        return os.stat(file.name, dir_fd=folder, follow_symlinks=False)


def _page_size(connection: sqlite3.Connection) -> int:
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(size)
