"""The guard against an SQLite file that is replaced under its connections."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from shortsdb.sqlite.file_checks import orphan

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry


def guard_replaced_file(engine: Engine, file: Path) -> None:
    """Close a pooled connection whose file was moved or replaced, and create no new file for it.

    Without this a pooled connection would go on writing to the old file, and all of that would be
    lost.
    """
    seen = False

    def do_connect(*_: object) -> None:
        if seen and not file.exists():
            raise _cannot_open("it was taken away")
        if beside := orphan(file):  # SQLite would delete it, with the rows in it
            raise _cannot_open(f"it is not there, but {beside.name} is")

    def connect(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        nonlocal seen
        seen = True
        record.info["file"] = _identity(file)

    def checkout(_connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        if _identity(file) != record.info["file"]:
            raise DisconnectionError("the file was taken away or replaced")

    event.listen(engine, "do_connect", do_connect)
    event.listen(engine, "connect", connect)
    event.listen(engine, "checkout", checkout)


def _cannot_open(why: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"unable to open database file: {why}")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    error.sqlite_errorname = "SQLITE_CANTOPEN"
    return error


def _identity(file: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file, None if it does not exist."""
    try:
        found = os.stat(file)  # noqa: PTH116 - at every checkout, and a Path takes longer
    except OSError:
        return None
    return found.st_dev, found.st_ino
