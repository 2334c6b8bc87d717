"""Backups: checked copies of an SQLite database, made while it is in use, the newest ones kept."""

from __future__ import annotations

import glob
import os
import re
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

from shortsdb.log import get_logger, operation
from shortsdb.migration.errors import MigrationRefused
from shortsdb.sqlite.online_copy import connect_read_only, copy_to_new
from shortsdb.driver_errors import explain, refuse_without_space

log = get_logger(__name__)

KEPT = 5
_ABANDONED_SECONDS = 3600


def folder_for(file: Path, setting: str | None) -> Path | None:
    """Return the folder that backups of `file` go to, None for no backups.

    Args:
        file: The database.
        setting: "off", a folder, or None for `backups` beside the file.
    """
    if setting and setting.lower() == "off":
        return None
    return Path(setting) if setting else file.parent / "backups"


def _stem(file: Path, folder: Path) -> str:
    """Return how the names of the backups of `file` in `folder` begin.

    In a folder that is not beside it there may be backups of another database of the same name.
    """
    if folder.resolve() == file.parent.resolve() / "backups":
        return file.stem
    return f"{file.stem}-{crc32(os.fsencode(file.resolve())):08x}"


@operation()
def make_backup(
    file: Path,
    revision: str | None,
    folder: Path,
    replaced_through: sqlite3.Connection | None = None,
) -> Path:
    """Copy a database as it was committed last, while others go on writing.

    The copy is written as `.partial`, looked over for damage, made durable and only then given its
    name: what has the name of a backup is one. It is no more open than the database.

    Args:
        file: The database.
        revision: The revision it has, None for none, for the name of the copy.
        folder: Where to, made if it is not there.
        replaced_through: A connection that keeps others out, when the database is about to be
            replaced by another: it is then copied as it is, damaged or not.

    Raises:
        MigrationRefused: The copy could not be made, or shows that the database is damaged.
    """
    try:
        if replaced_through is not None:
            return _make_backup(file, revision, folder, replaced_through, check=False)
        with closing(connect_read_only(file)) as source:
            return _make_backup(file, revision, folder, source, check=True)
    except OSError as error:
        raise MigrationRefused(
            f"{file}: the backup in {folder} failed ({error.strerror}); nothing was changed"
        ) from error
    except sqlite3.Error as error:
        raise MigrationRefused(
            f"{explain(error, str(file))}; the backup in {folder} failed, nothing was changed"
        ) from error


def _make_backup(
    file: Path, revision: str | None, folder: Path, source: sqlite3.Connection, *, check: bool
) -> Path:
    _make_durable_folder(folder, file.parent.stat().st_mode & 0o777)
    partial, backup = _reserve_name(file, revision, folder)
    try:
        (pages,) = source.execute("PRAGMA page_count").fetchone()
        (page_size,) = source.execute("PRAGMA page_size").fetchone()
        refuse_without_space(file, folder, pages * page_size)
        # Made durable below, all at once.
        copy_to_new(source, file, partial, f"backup of {file}")
        if check:
            refuse_damaged(partial, str(file))
        _take_mode(file, partial)
        fsync(partial)
        partial.rename(backup)
        fsync(folder)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    log.info("backup of %s: %s", file, backup)
    return backup


def _reserve_name(file: Path, revision: str | None, folder: Path) -> tuple[Path, Path]:
    """Create an empty `.partial`, and return it with the name that nobody else can give a backup.

    Whoever created the `.partial` owns the name. Processes that start together do meet in one
    microsecond; the later one waits for the next.
    """
    # The revision is what the database says of itself: any text.
    label = re.sub(r"\W", "_", revision or "unversioned")
    while True:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        backup = folder / f"{_stem(file, folder)}.{label}.{stamp}{file.suffix}"
        partial = backup.with_name(f"{backup.name}.partial")
        try:
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            continue
        if not backup.exists():  # else its owner has finished already
            return partial, backup
        partial.unlink()


def _make_durable_folder(folder: Path, mode: int) -> None:
    if not folder.exists():
        _make_durable_folder(folder.parent, mode)
        folder.mkdir(mode=mode, exist_ok=True)
        there = folder.parent.stat()
        with suppress(PermissionError):  # what root makes, the service must be able to use
            os.chown(folder, there.st_uid, there.st_gid)
        fsync(folder.parent)  # else a power cut takes the folder, with what is in it


def refuse_damaged(copy: Path, name: str) -> None:
    """Look a copy over for damage.

    Args:
        copy: A database that nobody writes to.
        name: The database that it is a copy of.

    Raises:
        MigrationRefused: It is damaged.
        sqlite3.DatabaseError: It is damaged so badly that it cannot be looked over.
    """
    with closing(connect_read_only(copy, immutable=True)) as connection:
        problems = [row[0] for row in connection.execute("PRAGMA quick_check(100)")]
    if problems != ["ok"]:
        # Each problem may itself be several lines.
        lines = [line for problem in problems for line in problem.splitlines() if line[:3] != "***"]
        more = f" and {len(lines) - 1} more problems" if len(lines) > 1 else ""
        raise MigrationRefused(
            f"{name} is damaged: {lines[0]}{more}; nothing was changed. Restore the last backup, "
            "or salvage what is left with the sqlite3 program's .recover"
        )


def _take_mode(file: Path, copy: Path) -> None:
    there = file.stat()
    mode = there.st_mode & 0o777
    try:
        os.chown(copy, there.st_uid, there.st_gid)
    except PermissionError:
        # Then the copy's group is another one, which the file's group bits did not mean.
        mode &= 0o707 if copy.stat().st_gid != there.st_gid else 0o777
    copy.chmod(mode)


def fsync(path: Path) -> None:
    """Make a file or a folder's list of files durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def backups_of(file: Path, folder: Path) -> list[Path]:
    """Return the backups of `file` in `folder`, oldest first."""
    name = re.compile(
        rf"{re.escape(_stem(file, folder))}\.[^.]+\.(\d{{8}}T\d{{12}}Z){re.escape(file.suffix)}"
    )
    if not folder.is_dir():
        return []
    found = [(match[1], path) for path in folder.iterdir() if (match := name.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def keep_newest(file: Path, backup: Path) -> None:
    """Delete the backups of `file` beside `backup`, but for the newest ones and `backup` itself.

    Also what killed processes left unfinished; a copy that is being made was written to just now.
    """
    old = [path for path in backups_of(file, backup.parent)[:-KEPT] if path != backup]
    stem = glob.escape(_stem(file, backup.parent))
    for partial in backup.parent.glob(f"{stem}.*{glob.escape(file.suffix)}.partial"):
        with suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > _ABANDONED_SECONDS:
                old.append(partial)
    for path in old:
        try:
            path.unlink(missing_ok=True)  # two at once delete the same ones
            log.info("deleted the old backup %s", path)
        except OSError as error:
            log.warning("the old backup %s could not be deleted: %s", path, error.strerror)
