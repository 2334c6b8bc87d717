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

_PAGES_A_STEP = 2_000  # 8 MB: a writer need not wait long, a progress line comes often enough
_RESTARTS = 3
_START_SECONDS = 10.0  # that a Python without any import may take


class _OvertakenError(Exception):
    """Somebody writes all the time."""


def connect(file: Path, options: str, expected: os.stat_result | None = None) -> sqlite3.Connection:
    """Return a connection to a file that is there.

    Args:
        file: The database.
        options: Parameters of SQLite's URI, see https://sqlite.org/uri.html.
        expected: What is known of the file, if that was looked at before.

    Raises:
        OperationRefused: Another file is opened.
        OSError: The file is not there.
        sqlite3.OperationalError: It cannot be opened.
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
        immutable: Nobody writes to the file: neither locks nor side files are needed.
    """
    return connect(file, "mode=ro&immutable=1" if immutable else "mode=ro", expected)


def connect_new(file: Path, expected: os.stat_result | None = None) -> sqlite3.Connection:
    """Return a connection to a file that nobody else knows yet, and that is not made durable."""
    connection = connect(file, "mode=rw", expected)
    # No journal: a killed copy is no copy.
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def interpreter() -> str | None:
    """Return the Python to run programs of ours in; None if it is part of an application.

    To start that would start the application.
    """
    return None if getattr(sys, "frozen", False) else sys.executable or None


def copy_to_new(
    source: sqlite3.Connection, file: Path, found: os.stat_result, copy: NewFile, label: str
) -> None:
    """Copy a database that is in use to a new file, which is not made durable.

    In WAL mode one snapshot is copied, and keeps nobody from writing. With a rollback journal a
    reader keeps writers from committing, so that the source is let go after every step, and SQLite
    starts again if somebody has written meanwhile. Next to a writer that never pauses, the file is
    copied as it is, while they go on, and then once more, while they have to wait, where it has
    changed; with both in memory that takes a fifth of the time that SQLite takes to copy.

    Args:
        source: A connection to the database that is in no transaction.
        file: The database.
        found: What is known of its file.
        copy: The new file, empty.
        label: What to say of it on a terminal, when it takes longer than a second.

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

    If it did not, the source may be in a transaction that reads, which is as good a snapshot.
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
    except (OSError, ValueError):  # it died, or Python is part of another program
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
    # Writers do not change the file from here on, unless they have set WAL mode meanwhile.
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
    """Copy one database over another, as one transaction of the target.

    Args:
        source: A connection that is in no transaction, or in one that reads, and ends with this.
        target: A connection that is in no transaction.
        label: What to say of it on a terminal, when it takes longer than a second.

    Raises:
        sqlite3.OperationalError: A lock could not be taken in time, or SQLite failed otherwise.
        _OvertakenError: A writer that never pauses made SQLite start again too often.
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
                # The sqlite3 module itself would try for ever.
                if time.monotonic() - moved > patience:
                    error = sqlite3.OperationalError("database is locked")
                    error.sqlite_errorname = "SQLITE_BUSY"
                    raise error
                return
            moved = time.monotonic()
            if left is not None and remaining >= left:  # a step forward, and back to the start
                restarts += 1
                if restarts == _RESTARTS:
                    raise _OvertakenError
            left = remaining
            show(1 - remaining / max(total, 1))

        source.backup(target, pages=_PAGES_A_STEP, progress=progress, sleep=0.05)
    if source.in_transaction:
        source.execute("COMMIT")  # from here on nobody has to wait


def _hold_snapshot(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # BEGIN alone reads nothing yet


def _in_wal_mode(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA journal_mode").fetchone() == ("wal",))
