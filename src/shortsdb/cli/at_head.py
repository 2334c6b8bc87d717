"""Sees that a SQLite file is at head already, without SQLAlchemy and Alembic, which cost most."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from shortsdb.config import DEFAULT_URL, revisions

_STARTS = ("sqlite:///", "sqlite+pysqlite:///", "sqlite+aiosqlite:///")
# File times may be that coarse, see https://learn.microsoft.com/windows/win32/sysinfo/file-times.
_TICK_SECONDS = 2.0


def at_head(revision: str, url: str | None) -> tuple[Path, str] | None:
    """Return the file and its revision if an upgrade of it has nothing to do.

    None is no answer: the ordinary path has to look. So is everything that is not plain: another
    kind of URL, a link, a file that others have open or that somebody wrote to just now.

    Nothing is written, and nothing made beside the file: SQLite takes it for one that nobody
    writes to. That nobody does is seen by the absence of its -wal and -journal, and by its times,
    before and after.

    Args:
        revision: Where to.
        url: The database, by URL or path; None for the default one.
    """
    file = _file(url or DEFAULT_URL)
    known = revisions()
    if file is None or revision not in {"head", known[-1]} or not all(map(str.isdecimal, known)):
        return None
    before = _untouched(file)
    if before is None or not _says(file, known[-1]) or _untouched(file) != before:
        return None
    return file, known[-1]


def _file(given: str) -> Path | None:
    path = next((given.removeprefix(start) for start in _STARTS if given.startswith(start)), given)
    if path != given and "%" in path:  # SQLAlchemy 2.1 decodes it, 2.0 does not
        return None
    # What has one of these may be no path, see shortsdb.url.path.
    plain = path and not path.startswith("~") and not set(":@=?").intersection(path)
    return Path(path).absolute() if plain else None


def _untouched(file: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is written to; None if it might be written to right now."""
    if any(os.path.exists(f"{file}{end}") for end in ("-wal", "-shm", "-journal")):  # noqa: PTH110 - raises nothing
        return None
    try:
        found = file.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    # The ordinary path refuses what it could not write to.
    writable = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
    if not writable or time.time() - found.st_mtime < _TICK_SECONDS:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _says(file: Path, head: str) -> bool:
    """Return whether a file has exactly one version, `head`, and no half of a table's rebuild."""
    uri = f"file://{quote(os.fsencode(file.absolute()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error:
        return False
    # A name may be a blob, which the ordinary path refuses, if somebody edited sqlite_master.
    plain = all(isinstance(name, str) and name[:13] != "_alembic_tmp_" for (name,) in names)
    return plain and versions == [(head,)]
