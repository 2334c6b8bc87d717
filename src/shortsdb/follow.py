"""Lets no pooled connection outlive its SQLite file."""

from __future__ import annotations

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


def follow(engine: Engine, file: Path) -> None:
    """Let no connection outlive its file, and none make a new file where one was taken away.

    Else a pooled connection would go on writing to a file that was moved away or replaced, and all
    of that would be lost.
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
    """Return what tells a file from another of the same name; None if it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
