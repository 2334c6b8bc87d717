"""Detect that the SQLite file of a pooled connection was moved or replaced."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from shortsdb.sqlite.file_checks import orphan
from shortsdb.sqlite.files import identity_of

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry


def guard_replaced_file(engine: Engine, file: Path) -> None:
    """Close a pooled connection whose file was moved or replaced, and create no new file for it.

    Otherwise the connection would keep writing to the old file, and those writes would be lost.
    """
    path = str(file)  # a Path would be converted at each checkout
    seen = False

    def do_connect(*_: object) -> None:
        if seen and not file.exists():
            raise _cannot_open("it was moved or deleted")
        if beside := orphan(file):  # SQLite would delete it, with the rows in it
            raise _cannot_open(f"it does not exist, but {beside.name} does")

    def connect(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        nonlocal seen
        seen = True
        record.info["file"] = identity_of(path)

    def checkout(_connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        if identity_of(path) != record.info["file"]:
            raise DisconnectionError("the file was moved, deleted or replaced")

    event.listen(engine, "do_connect", do_connect)
    event.listen(engine, "connect", connect)
    event.listen(engine, "checkout", checkout)


def _cannot_open(why: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"unable to open database file: {why}")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    error.sqlite_errorname = "SQLITE_CANTOPEN"
    return error
