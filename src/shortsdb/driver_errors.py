"""Says in one sentence why a database cannot be worked on, and what to do about it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from shortsdb.migration.errors import MigrationRefused
from shortsdb.settings import lock_timeout, statement_timeout

if TYPE_CHECKING:
    from pathlib import Path

# What an upgrade writes beside the copy: new pages and the journal, with room to spare.
CHANGE_BYTES = 2**20

# When the disk fails or fills at the very end of a COMMIT, SQLite may report one of these although
# the next one who opens the file finds it committed.
UNCERTAIN = ("SQLITE_IOERR", "SQLITE_FULL")

# By the name of SQLite's result code, https://sqlite.org/rescode.html, as sqlite3 gives it, or by
# PostgreSQL's SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html.
_MEANINGS = {
    "SQLITE_BUSY": (
        "is locked by another process for longer than {timeout:g} s (SHORTSDB_LOCK_TIMEOUT); "
        "find out what holds it, or try again when it is idle"
    ),
    "SQLITE_NOTADB": (
        "is not an SQLite database, or it is encrypted; check that this is the right file"
    ),
    "SQLITE_CORRUPT": (
        "is damaged ({error}); restore the last backup, or salvage what is left with the sqlite3 "
        "program's .recover"
    ),
    "SQLITE_READONLY": "cannot be written ({error}): the file or its file system is read-only",
    "SQLITE_FULL": "does not fit its file system any more; make room and try again",
    "SQLITE_CANTOPEN": "cannot be opened ({error})",
    "SQLITE_IOERR": "could not be read or written ({error}, {code}); look at the disk",
    "55P03": (
        "is locked by another session for longer than SHORTSDB_LOCK_TIMEOUT allows{at}; "
        "pg_stat_activity says what it does; try again when that has ended"
    ),
    "57014": (
        "cancelled a statement ({error}){at}; SHORTSDB_STATEMENT_TIMEOUT is how long one may take, "
        "{statement_timeout:g} s now"
    ),
    "57P": "ended the connection ({error}){at}; try again when the server is up",
    "25006": (
        "is read-only ({error}): a standby, or default_transaction_read_only is on; name the "
        "primary"
    ),
}


def refuse_unusable_file(file: Path, *, changes: bool) -> None:
    """Look at a database file from outside, without opening it.

    Opening and closing it would drop the locks that this process holds on it through SQLite, see
    https://sqlite.org/howtocorrupt.html, section 2.2.

    Raises:
        MigrationRefused: The command could not work on it.
    """
    try:
        _refuse_unusable_file(file, changes=changes)
    except OSError as error:  # a name too long, a folder above that cannot be searched
        raise MigrationRefused(f"{file}: {error.strerror}") from error


def _refuse_unusable_file(file: Path, *, changes: bool) -> None:
    folder = file.parent
    if not folder.is_dir():
        raise MigrationRefused(f"{file}: the folder {folder} does not exist; create it first")
    if not os.access(folder, os.X_OK):
        raise MigrationRefused(f"{file}: no permission to look into the folder {folder}")
    if file.is_dir():
        raise MigrationRefused(f"{file} is a folder, not a database file")
    if file.exists() and not os.access(file, os.R_OK):
        raise MigrationRefused(f"{file}: no permission to read it")
    if not changes:
        return
    if file.exists() and not os.access(file, os.W_OK):
        raise MigrationRefused(
            f"{file} cannot be written: the file or its file system is read-only for this user"
        )
    if not os.access(folder, os.W_OK):
        raise MigrationRefused(
            f"{file}: the folder {folder} cannot be written, and SQLite needs its journal there"
        )


def refuse_without_space(file: Path, copy_folder: Path | None, copy_bytes: int) -> None:
    """Look whether the copy and the change have room.

    Args:
        file: The database.
        copy_folder: Where the copy goes, which exists; None for no copy.
        copy_bytes: The size of the copy.

    Raises:
        MigrationRefused: A file system has too little free space.
    """
    needed = {file.parent: CHANGE_BYTES}
    if copy_folder is not None:
        same = copy_folder.stat().st_dev == file.parent.stat().st_dev
        needed = {copy_folder: copy_bytes + CHANGE_BYTES * same} | ({} if same else needed)
    for folder, size in needed.items():
        free = shutil.disk_usage(folder).free
        if free < size:
            raise MigrationRefused(
                f"{file}: {folder} has {_megabytes(free)} free and {_megabytes(size)} are needed "
                "for the backup and the change; nothing was changed. Make room, or name another "
                "folder for the backup (SHORTSDB_BACKUP, -x backup=DIR)"
            )


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def explain(error: BaseException, name: str) -> str:
    """Return what an error of the database driver means for the operator, in one line.

    Args:
        error: The driver's own error, or SQLAlchemy's around it.
        name: What to call the database.
    """
    cause, code = _cause(error)
    text = " ".join(str(cause).split())  # PostgreSQL's take several lines
    statement = error.statement if isinstance(error, DBAPIError) else None
    at = f" (at: {statement.strip().splitlines()[0]})" if statement else ""
    for prefix, meaning in _MEANINGS.items():
        if code.startswith(prefix):
            explained = meaning.format(
                error=text,
                code=code,
                at=at,
                timeout=lock_timeout(),
                statement_timeout=statement_timeout(),
            )
            return f"{name} {explained}"
    return f"{name}: {text}{at}"


def left_behind(error: BaseException, done: str) -> str:
    """Return what is known of the database after an error of the driver.

    Args:
        error: The driver's own error, or SQLAlchemy's around it.
        done: What would have been done to it, as in "nothing was changed".
    """
    # A COMMIT has no statement; while connecting there is no connection to be invalidated.
    lost_in_commit = (
        isinstance(error, DBAPIError) and error.statement is None and error.connection_invalidated
    )
    if lost_in_commit or _cause(error)[1].startswith(UNCERTAIN):
        return f"it is wholly as it was or wholly {done}: run the same again once this is mended"
    return f"nothing was {done}"


def _cause(error: BaseException) -> tuple[BaseException, str]:
    """Return the driver's own error, with the name of SQLite's result code or the SQLSTATE."""
    cause = (error.orig if isinstance(error, DBAPIError) else None) or error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return cause, code or ""
