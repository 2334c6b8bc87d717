"""Backups: checked copies of an SQLite database, made while it is in use, the newest ones kept."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from shortsdb.driver_errors import explain
from shortsdb.errors import OperationRefused
from shortsdb.log import get_logger, operation
from shortsdb.paths import plausible_path
from shortsdb.sqlite.file_checks import refuse_unusable_file, refuse_without_space
from shortsdb.sqlite.files import NewFile, behind_link, make_folder, open_folder, share
from shortsdb.sqlite.online_copy import connect_read_only, copy_to_new

log = get_logger(__name__)

KEPT = 5
_ABANDONED_SECONDS = 3600
_TICK = timedelta(microseconds=1)
_STAMP = "%Y%m%dT%H%M%S%fZ"
_LAST = datetime(9999, 12, 31, tzinfo=UTC)  # with a day to spare before the end of the calendar
# A name may have 255 bytes: so many of the database's, so many of the revision, and the stamp.
_STEM_BYTES = 150
_LABEL_CHARACTERS = 40


def folder_for(file: Path, setting: str | None) -> Path | None:
    """Return the folder that backups of `file` go to, None for no backups.

    Args:
        file: The database.
        setting: "off", a folder, or None for `backups` beside the file.

    Raises:
        OperationRefused: The setting is not a plausible path.
    """
    if setting and setting.lower() == "off":
        return None
    return plausible_path(setting) if setting else file.parent / "backups"


def _ends(file: Path, folder: Path) -> tuple[str, str]:
    """Return how the names of the backups of `file` in `folder` begin and end.

    In a folder that is not beside it there may be backups of another database of the same name,
    and of a long name only the beginning is used: a hash tells them apart.
    """
    beside = _is_default(folder, file)
    name = os.fsencode(file.name)
    if beside and len(name) <= _STEM_BYTES:
        return file.stem, file.suffix
    key = crc32(name if beside else os.fsencode(os.path.realpath(file)))
    if len(name) <= _STEM_BYTES:
        return f"{file.stem}-{key:08x}", file.suffix
    return f"{name[:_STEM_BYTES].decode(errors='ignore')}-{key:08x}", ""


def _is_default(folder: Path, file: Path) -> bool:
    """Return whether a folder is the one that backups of `file` go to if none is named."""
    return Path(os.path.realpath(folder)) == Path(os.path.realpath(file)).parent / "backups"


@operation()
def make_backup(
    file: Path,
    revision: str | None,
    folder: Path,
    replaced_through: sqlite3.Connection | None = None,
) -> Path:
    """Copy a database as it was committed last, while others go on writing.

    The copy is written as `.partial`, checked for damage, made durable and only then given its
    name: what has the name of a backup is one. It is no more open than the database.

    Args:
        file: The database.
        revision: The revision it has, None for none, for the name of the copy.
        folder: Where to. Only the default one is made if it is not there: a named one may be on a
            disk that is not mounted.
        replaced_through: A connection that keeps others out, when the database is about to be
            replaced by another: it is then copied as it is, damaged or not.

    Raises:
        OperationRefused: The copy could not be made, or shows that the database is damaged.
    """
    file = behind_link(file)
    try:
        if replaced_through is not None:
            return _make_backup(file, file.stat(), revision, folder, replaced_through, check=False)
        refuse_unusable_file(file, changes=False)
        found = file.stat()
        with closing(connect_read_only(file, found)) as source:
            return _make_backup(file, found, revision, folder, source, check=True)
    except OSError as error:
        raise OperationRefused(
            f"{file}: the backup in {folder} failed ({error.strerror}); nothing was changed"
        ) from error
    except sqlite3.Error as error:
        raise OperationRefused(
            f"{explain(error, str(file))}; the backup in {folder} failed, nothing was changed"
        ) from error


def _make_backup(  # noqa: PLR0913 - private, and all of it is needed
    file: Path,
    found: os.stat_result,
    revision: str | None,
    folder: Path,
    source: sqlite3.Connection,
    *,
    check: bool,
) -> Path:
    if _is_default(folder, file):
        make_folder(folder, found)
    elif not folder.exists():
        raise OperationRefused(
            f"the folder for backups {folder} does not exist; nothing was changed. Mount its disk, "
            "or create it"
        )
    with open_folder(folder) as descriptor, _reserve(file, revision, folder, descriptor) as copy:
        backup = copy.path.with_suffix("")
        (pages,) = source.execute("PRAGMA page_count").fetchone()
        (page_size,) = source.execute("PRAGMA page_size").fetchone()
        refuse_without_space(file, folder, pages * page_size)
        # Made durable below, all at once.
        copy_to_new(source, file, found, copy, f"backup of {file}")
        if check:
            refuse_damaged(copy.path, str(file), os.fstat(copy.descriptor))
        share(copy.descriptor, file, found, folder)
        os.fsync(copy.descriptor)
        copy.rename(backup.name)
    log.info("backup of %s: %s", file, backup)
    return backup


def _reserve(file: Path, revision: str | None, folder: Path, descriptor: int) -> NewFile:
    """Create an empty `.partial`, whose name without that nobody else can give a backup.

    Whoever created the `.partial` owns the name. Processes that start together do meet in one
    microsecond; the later one takes the next. Names sort in the order in which they are given, also
    where the clock was set back: a new one comes after all that are there.
    """
    # The revision is what the database says of itself: any text.
    label = re.sub(r"\W", "_", revision or "unversioned", flags=re.ASCII)[:_LABEL_CHARACTERS]
    moment = datetime.now(UTC)
    if there := _named(file, folder):
        newest = there[-1]
        if newest.moment > _LAST:
            raise OperationRefused(
                f"{newest.path} has a date that no later backup can have; nothing was changed. "
                "Move it to another folder"
            )
        moment = max(moment, newest.moment + _TICK)
    begin, end = _ends(file, folder)
    while True:
        name = f"{begin}.{label}.{moment.strftime(_STAMP)}{end}"
        with suppress(FileExistsError):
            copy = NewFile.create(folder / f"{name}.partial", descriptor)
            if not (folder / name).exists():
                return copy
            with copy:  # its owner has finished already
                pass
        moment = max(moment + _TICK, datetime.now(UTC))


def refuse_damaged(copy: Path, name: str, expected: os.stat_result | None = None) -> None:
    """Look for damage in a copy.

    Args:
        copy: A database that nobody writes to.
        name: The database that it is a copy of.
        expected: What is known of the copy's file, if that was looked at before.

    Raises:
        OperationRefused: It is damaged.
        sqlite3.DatabaseError: It is too damaged to read.
    """
    with closing(connect_read_only(copy, expected, immutable=True)) as connection:
        problems = [row[0] for row in connection.execute("PRAGMA quick_check(100)")]
    if problems != ["ok"]:
        # Each problem may itself be several lines.
        lines = [line for problem in problems for line in problem.splitlines() if line[:3] != "***"]
        more = f" and {len(lines) - 1} more problems" if len(lines) > 1 else ""
        raise OperationRefused(
            f"{name} is damaged: {lines[0]}{more}; nothing was changed. Restore the last backup, "
            "or salvage what is left with the sqlite3 program's .recover"
        )


class _Named(NamedTuple):
    """A backup, with what its name says."""

    moment: datetime
    label: str
    path: Path


def backups_of(file: Path, folder: Path) -> list[Path]:
    """Return the backups of `file` in `folder`, in the order in which they were made."""
    return [backup.path for backup in _named(file, folder)]


def _named(file: Path, folder: Path) -> list[_Named]:
    begin, end = map(re.escape, _ends(file, folder))
    name = re.compile(rf"{begin}\.([^.]+)\.(\d{{8}}T\d{{12}}Z){end}")
    if not folder.is_dir():
        return []
    found = []
    for path in folder.iterdir():
        if match := name.fullmatch(path.name):
            with suppress(ValueError):  # no date, so the name is not one of ours
                moment = datetime.strptime(match[2], _STAMP).replace(tzinfo=UTC)
                found.append(_Named(moment, match[1], path))
    return sorted(found)


def keep_newest(file: Path, backup: Path) -> None:
    """Delete old backups of `file` beside `backup`, and what killed processes left unfinished.

    Kept are the newest ones, `backup` itself, and the newest of another revision than the newest
    of all: the way back from the last upgrade, however often a backup was made since. A copy that
    is being made was written to just now.
    """
    there = _named(file, backup.parent)
    of_another = [found.path for found in there if found.label != there[-1].label]
    kept = {backup, *of_another[-1:], *(found.path for found in there[-KEPT:])}
    old = [found.path.name for found in there if found.path not in kept]
    with open_folder(backup.parent) as folder:
        for name in old + _abandoned(file, backup.parent, folder):
            path = backup.parent / name
            try:
                os.unlink(name, dir_fd=folder)
                log.info("deleted the old backup %s", path)
            except FileNotFoundError:  # two at once delete the same ones
                pass
            except OSError as error:
                log.warning("the old backup %s could not be deleted: %s", path, error.strerror)


def _abandoned(file: Path, path: Path, folder: int) -> list[str]:
    """Return the names in a folder, by path and descriptor, of unfinished backups of `file`."""
    begin, end = _ends(file, path)
    found = []
    for name in os.listdir(folder):
        if name.startswith(f"{begin}.") and name.endswith(f"{end}.partial"):
            with suppress(FileNotFoundError):
                state = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if time.time() - state.st_mtime > _ABANDONED_SECONDS:
                    found.append(name)
    return found
