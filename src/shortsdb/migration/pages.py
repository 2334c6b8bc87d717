"""Copies SQLite databases page by page, beside whoever else uses them."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from shortsdb.migration.progress import progress_line
from shortsdb.migration.timeouts import lock_timeout

if TYPE_CHECKING:
    from pathlib import Path

_PAGES_A_STEP = 2_000  # 8 MB: a writer need not wait long, a progress line comes often enough
_RESTARTS = 3


def connect_read_only(file: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """Return a connection that cannot write; `immutable` also keeps it from making side files."""
    uri = f"file://{quote(os.fsencode(file.absolute()))}?mode=ro{'&immutable=1' * immutable}"
    return sqlite3.connect(uri, uri=True, timeout=lock_timeout(), isolation_level=None)


def copy_pages(source: sqlite3.Connection, target: sqlite3.Connection, label: str) -> None:
    """Copy one database over another, as one transaction of the target.

    In WAL mode one snapshot is copied, and keeps nobody from writing. With a rollback journal a
    reader keeps writers from committing, so that the source is let go after every step. SQLite
    begins anew when somebody has written meanwhile; who writes all the time has to wait at last.

    Args:
        source: A connection that is in no transaction.
        target: A connection that is in no transaction.
        label: What to say of it on a terminal, when it takes longer than a second.

    Raises:
        sqlite3.OperationalError: A lock was not to be had in time, or SQLite failed otherwise.
    """
    if source.execute("PRAGMA journal_mode").fetchone() == ("wal",):
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
                    _hold_snapshot(source)
            left = remaining
            show(1 - remaining / max(total, 1))

        source.backup(target, pages=_PAGES_A_STEP, progress=progress, sleep=0.05)
    if source.in_transaction:
        source.execute("COMMIT")  # from here on nobody has to wait


def _hold_snapshot(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # BEGIN alone reads nothing yet
