"""Reads which revision a SQLite database is at, for status, health, backups and upgrades."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shortsdb.errors import OperationRefused
from shortsdb.printable import VALUE_LENGTH, printable
from shortsdb.sqlite.baseline import recognise, refuse_leftovers, undecodable_name
from shortsdb.sqlite.connection import values
from shortsdb.sqlite.file_checks import refuse_unusable_file
from shortsdb.sqlite.history import HISTORY_TABLE
from shortsdb.sqlite.online_copy import connect, connect_read_only

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from shortsdb.sqlite.connection import Connection

VERSION_TABLE = "alembic_version"
"""The table in which Alembic keeps the revision."""

BOOKKEEPING = frozenset({VERSION_TABLE, HISTORY_TABLE})
"""The tables that migrations keep for themselves; they hold no rows of the channel."""


@dataclass(frozen=True)
class Version:
    """Where a database is among the revisions of this release.

    Attributes:
        revision: What the version table says, safe to print, several versions as one text; None
            for nothing.
        shape: The revision whose tables a database without a version has, None for none.
        misfit: Why an upgrade refuses what is in the database; None if it does not.
        known: Whether this release knows `revision` or recognises the tables; it knows a database
            without tables.
        pending: The revisions after `revision` or `shape`, oldest first.
    """

    revision: str | None
    shape: str | None
    misfit: str | None
    known: bool
    pending: tuple[str, ...]


def version_of(
    heads: Sequence[object],
    known: Sequence[str],
    shape: str | None = None,
    misfit: str | None = None,
) -> Version:
    """Return the version of a database.

    Args:
        heads: What its version table says.
        known: The revisions of this release, oldest first.
        shape: See `Version`.
        misfit: See `Version`.
    """
    # An empty one is a version too, of other software.
    revision = ", ".join(sorted(str(head) or "''" for head in heads)) or None
    is_known = misfit is None and (revision is None or revision in known)
    at = revision or shape
    pending = known[known.index(at) + 1 if at else 0 :] if is_known else ()
    shown = printable(revision, VALUE_LENGTH) if revision else None
    return Version(shown, shape, misfit, is_known, tuple(pending))


def read_version(
    connection: Connection,
    known: Sequence[str],
    baselines: Mapping[str, str],
    name: str,
) -> Version:
    """Return the version of a SQLite database.

    Args:
        connection: The database.
        known: The revisions of this release, oldest first.
        baselines: The DDL script of each revision that unversioned databases may be at.
        name: What to call the database in `Version.misfit`.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    heads = _heads(connection)
    try:
        if heads:
            refuse_leftovers(connection, name)
            return version_of(heads, known)
        return version_of((), known, recognise(connection, baselines, VERSION_TABLE, name))
    except OperationRefused as refusal:
        return version_of(heads, known, misfit=str(refusal))


def _heads(connection: Connection) -> list[object]:
    exists = "SELECT 1 FROM sqlite_master WHERE lower(name) = ? AND type IN ('table', 'view')"
    if not values(connection, exists, VERSION_TABLE):
        return []
    return values(connection, f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant


@contextmanager
def reading(
    file: Path, *, immutable: bool = False, foreign_keys: bool = False
) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a file that cannot write to it, in a transaction.

    If there is no file, the connection is to an empty database in memory.

    Args:
        file: The database.
        immutable: Nobody writes to the file; nothing is made beside it.
        foreign_keys: Have the connection enforce foreign keys, as the application's do.

    A user who may not write in the folder cannot read a file in WAL mode that nobody has open, as
    SQLite would make a -shm there. It is then read as one that nobody writes to, and it is looked
    at afterwards whether somebody did.

    Raises:
        OperationRefused: It is not a file that could be a database, or a name in it is not UTF-8.
        sqlite3.Error: It cannot be opened or read.
    """
    refuse_unusable_file(file, changes=False, in_use=not immutable)
    found = _unopened(file)
    if found is not None and not immutable and not _can_be_read(file):
        if file.with_name(f"{file.name}-journal").exists():
            raise OperationRefused(
                f"{file} has a -journal beside it, which a killed program has left, and this user "
                "may not write the file to undo what that began: run shortsdb status as its owner"
            )
        with reading(file, immutable=True, foreign_keys=foreign_keys) as unlocked:
            yield unlocked
        if _unopened(file) != found:
            raise OperationRefused(
                f"{file} was opened by another process while this user, who may only read it, "
                "read it; run the same again"
            )
        return
    with closing(_connect(file, immutable=immutable)) as connection:
        # Not opened as read-only: such a connection leaves the -wal behind when it is closed.
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA foreign_keys = {foreign_keys:d}")
        connection.execute("BEGIN")
        try:
            yield connection
        except UnicodeDecodeError as error:
            raise undecodable_name(str(file)) from error


def read_journal_mode(connection: Connection, file: Path | None) -> str:
    """Return the journal mode of a database; a connection of `reading` may not know of WAL mode."""
    mode = str(values(connection, "PRAGMA journal_mode")[0])
    in_wal = file is not None and _unopened(file) is not None and not _can_be_read(file)
    return "wal" if in_wal else mode


def _unopened(file: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is written to; None if this user may write in its folder.

    Also None if its -wal or -shm is there: then somebody has it open in WAL mode, and SQLite reads
    it with their help.
    """
    beside = [file.with_name(f"{file.name}-{end}") for end in ("wal", "shm")]
    if os.access(file.parent, os.W_OK) or any(map(os.path.lexists, beside)) or not file.exists():
        return None
    there = file.stat()
    return there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns


def _can_be_read(file: Path) -> bool:
    """Return whether SQLite can read a file without making one beside it, as WAL mode needs."""
    with closing(connect(file, "mode=rw")) as connection:
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF
            return code not in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
    return True


def _connect(file: Path, *, immutable: bool) -> sqlite3.Connection:
    if immutable:
        return connect_read_only(file, immutable=True)
    try:
        return connect(file, "mode=rw")
    except FileNotFoundError:
        return sqlite3.connect(":memory:")


def is_at_head(file: Path, head: str) -> bool:
    """Return whether an upgrade of a file has nothing to do.

    False also if it cannot be told at once, for example because another program is committing, or
    if an upgrade would refuse the file: the upgrade itself waits, and explains.

    Args:
        file: The database.
        head: The newest revision of this release.
    """
    try:
        refuse_unusable_file(file, changes=True)
        with reading(file) as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            version = read_version(connection, [head], {}, str(file))
    except (sqlite3.Error, OSError, OperationRefused):
        return False
    return version.revision == head and version.misfit is None
