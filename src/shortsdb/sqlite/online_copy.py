"""Online copies of SQLite databases."""

from __future__ import annotations

import os
import select
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from shortsdb.settings import lock_timeout
from shortsdb.sqlite import _raw_copy
from shortsdb.sqlite.files import identity, open_files, refuse_other_file
from shortsdb.sqlite.progress import progress_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shortsdb.sqlite.files import NewFile

_PAGES_A_STEP = 2_000  # 8 MB: short enough for waiting writers and for the progress line
_RESTARTS = 3
_START_SECONDS = 10.0  # limit for the start of the copying process


class _OvertakenError(Exception):
    """Constant writes made SQLite restart the copy too often."""


def connect(file: Path, options: str, expected: os.stat_result | None = None) -> sqlite3.Connection:
    """Return a connection to an existing file.

    Args:
        file: The database.
        options: Parameters of SQLite's URI, see https://sqlite.org/uri.html.
        expected: The stat result of the file, if it was checked before.

    Raises:
        OperationRefused: Another file was opened.
        OSError: The file does not exist.
        sqlite3.OperationalError: The file cannot be opened.
    """
    expected = expected or file.stat()
    before = open_files()
    uri = f"file://{quote(os.fsencode(file.absolute()))}?{options}"
    connection = sqlite3.connect(uri, uri=True, timeout=lock_timeout(), isolation_level=None)
    try:
        refuse_other_file(before, expected, file)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(
    file: Path, expected: os.stat_result | None = None, *, immutable: bool = False
) -> sqlite3.Connection:
    """Return a connection that cannot write, see `connect`.

    Args:
        file: The database.
        expected: As for `connect`.
        immutable: Whether nobody writes to the file, so that locks and side files are not needed.
    """
    return connect(file, "mode=ro&immutable=1" if immutable else "mode=ro", expected)


def connect_new(file: Path, expected: os.stat_result | None = None) -> sqlite3.Connection:
    """Return a connection to a new file that nobody else uses, without durability."""
    connection = connect(file, "mode=rw", expected)
    # No journal is needed, because the copy of a killed process is never used.
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def interpreter() -> str | None:
    """Return the Python interpreter; None if Python is embedded in a frozen application.

    `sys.executable` would then start the application.
    """
    return None if getattr(sys, "frozen", False) else sys.executable or None


def copy_to_new(
    source: sqlite3.Connection, file: Path, found: os.stat_result, copy: NewFile, label: str
) -> None:
    """Copy a database that is in use to a new file, without flushing it to disk.

    In WAL mode the copy is one snapshot and does not block writers. With a rollback journal a
    reader blocks commits, so the lock is released after every step, and SQLite restarts the copy if
    another connection has written. If writers never pause, the file itself is copied while they
    continue, and then the changed blocks are copied while they wait. With both files in memory,
    that second pass takes a fifth of the time of a copy by SQLite.

    Args:
        source: A connection to the database, not in a transaction.
        file: The database.
        found: The stat result of the file.
        copy: The new file, empty.
        label: The label of the progress line.

    Raises:
        sqlite3.OperationalError: A lock could not be taken in time, or SQLite failed otherwise.
    """
    try:
        _copy_by_sqlite(source, copy, label)
    except _OvertakenError:
        if not _copy_by_hand(source, file, found, copy, label):
            os.ftruncate(copy.descriptor, 0)
            if not source.in_transaction:
                _hold_snapshot(source)
            _copy_by_sqlite(source, copy, label)


def _copy_by_sqlite(source: sqlite3.Connection, copy: NewFile, label: str) -> None:
    with closing(connect_new(copy.path, os.fstat(copy.descriptor))) as target:
        copy_pages(source, target, label)


def _copy_by_hand(
    source: sqlite3.Connection, file: Path, found: os.stat_result, copy: NewFile, label: str
) -> bool:
    """Copy a file with a rollback journal, and return whether that succeeded.

    After a failure the source may be in a read transaction, whose snapshot can be copied instead.
    """
    python = interpreter()
    if python is None:
        return False
    number = str(copy.descriptor)
    try:
        with (
            progress_line(label) as show,
            subprocess.Popen(  # noqa: S603 - a program of ours
                [python, "-I", "-S", _raw_copy.__file__, file, str(identity(found)), number],
                pass_fds=[copy.descriptor],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as child,
        ):
            try:
                return _finish(child, source, show)
            finally:
                child.kill()
    except (OSError, ValueError):  # the process died or could not be started
        return False


def _finish(
    child: subprocess.Popen[str], source: sqlite3.Connection, show: Callable[[float], None]
) -> bool:
    assert child.stdin is not None  # noqa: S101 - it is a pipe
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    if not select.select([child.stdout], [], [], _START_SECONDS)[0]:
        return False
    while (line := child.stdout.readline()) != _raw_copy.COPIED:
        show(float(line))  # EOF raises ValueError
    # From here on writers cannot change the file, unless one has set WAL mode.
    _hold_snapshot(source)
    if _in_wal_mode(source):
        return False
    child.stdin.write("\n")
    child.stdin.flush()
    if child.stdout.readline() != _raw_copy.EQUAL:
        return False
    source.execute("COMMIT")
    return True


def copy_pages(source: sqlite3.Connection, target: sqlite3.Connection, label: str) -> None:
    """Copy one database over another in one transaction of the target.

    Args:
        source: A connection, not in a transaction or in a read transaction, which is then ended.
        target: A connection, not in a transaction.
        label: The label of the progress line.

    Raises:
        sqlite3.OperationalError: A lock could not be taken in time, or SQLite failed otherwise.
        _OvertakenError: Constant writes made SQLite restart the copy too often.
    """
    if not source.in_transaction and _in_wal_mode(source):
        _hold_snapshot(source)
    patience = lock_timeout()
    restarts = 0
    left: int | None = None
    moved = time.monotonic()
    with progress_line(label) as show:

        def progress(status: int, remaining: int, total: int) -> None:
            nonlocal restarts, left, moved
            if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                # The sqlite3 module itself would retry forever.
                if time.monotonic() - moved > patience:
                    error = sqlite3.OperationalError("database is locked")
                    error.sqlite_errorname = "SQLITE_BUSY"
                    raise error
                return
            moved = time.monotonic()
            if left is not None and remaining >= left:  # SQLite has restarted the copy
                restarts += 1
                if restarts == _RESTARTS:
                    raise _OvertakenError
            left = remaining
            show(1 - remaining / max(total, 1))

        source.backup(target, pages=_PAGES_A_STEP, progress=progress, sleep=0.05)
    if source.in_transaction:
        source.execute("COMMIT")  # do not block writers any longer


def _hold_snapshot(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # BEGIN alone takes no snapshot


def _in_wal_mode(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA journal_mode").fetchone() == ("wal",))
