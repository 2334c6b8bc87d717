"""Check database files before they are used, without opening them.

Opening and closing a database file would drop the locks that this process holds on it through
SQLite, see https://sqlite.org/howtocorrupt.html, section 2.2.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

from shortsdb.errors import OperationRefused
from shortsdb.sqlite.online_copy import interpreter

if TYPE_CHECKING:
    from pathlib import Path

# An upper bound for the new pages and the journal of an upgrade.
CHANGE_BYTES = 2**20

# Exits with 1 in WAL mode. Byte 18 is the file format write version, see
# https://sqlite.org/fileformat.html, section 1.3.
_IN_WAL_MODE = "import sys; sys.exit(open(sys.argv[1], 'rb').read(19)[18:] == b'\\2')"


def refuse_unusable_file(file: Path, *, changes: bool, in_use: bool = True) -> None:
    """Refuse a database file that a command could not use; the file need not exist.

    Args:
        file: The database.
        changes: Whether the command changes the file, or creates it if it does not exist.
        in_use: Whether others may use it; a backup is opened as `immutable`, without side files.

    Raises:
        OperationRefused: The command could not use the file.
    """
    try:
        _refuse_unusable_file(file, changes=changes, in_use=in_use)
    except OSError as error:  # the name is too long, or links form a circle
        raise OperationRefused(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise OperationRefused(f"{str(file)!r} is not a path: it contains a NUL") from error


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:
        return None


def _refuse_unusable_file(file: Path, *, changes: bool, in_use: bool) -> None:
    folder = file.parent
    if not folder.is_dir():
        if not changes:  # then there is no database, which each command says in its own way
            return
        raise OperationRefused(
            f"{file}: the folder {folder} does not exist; check the path, mount its disk, or "
            "create it"
        )
    if not os.access(folder, os.X_OK):
        raise OperationRefused(f"{file}: no permission to access the folder {folder}")
    found = _stat(file)
    if found is not None:
        _refuse_unreadable(file, found, in_use=in_use)
    if changes:
        _refuse_unwritable(file, found)


def _refuse_unwritable(file: Path, found: os.stat_result | None) -> None:
    folder = file.parent
    if found is None:
        refuse_orphans(file)
    elif not os.access(file, os.W_OK):
        raise OperationRefused(
            f"{file} cannot be written: the file or its file system is read-only for this user"
        )
    if not os.access(folder, os.W_OK):
        raise OperationRefused(
            f"{file}: the folder {folder} cannot be written, and SQLite needs its journal there"
        )


def _refuse_unreadable(file: Path, found: os.stat_result, *, in_use: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OperationRefused(f"{file} is {kind(found.st_mode)}, not a database file")
    if not os.access(file, os.R_OK):
        raise OperationRefused(f"{file}: no permission to read it")
    if in_use:
        _refuse_to_lock_owner_out(file, found)


def kind(mode: int) -> str:
    """Return a phrase for the kind of a file that is not a regular one, by its mode."""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a link" if stat.S_ISLNK(mode) else "a device")


def orphan(file: Path) -> Path | None:
    """Return a non-empty -wal or -journal whose database does not exist, None otherwise.

    It holds rows of that database. SQLite deletes it when a new database of that name is opened.
    """
    if os.path.lexists(file):
        return None
    for side in ("-wal", "-journal"):
        beside = file.with_name(file.name + side)
        if beside.exists() and beside.stat().st_size:
            return beside
    return None


def refuse_orphans(file: Path) -> None:
    """Refuse to create a database beside the -wal or -journal of another one.

    Raises:
        OperationRefused: There is an `orphan`.
    """
    if beside := orphan(file):
        raise OperationRefused(
            f"{file} does not exist, but {beside.name} does. It may hold rows of the database, and "
            "SQLite would delete it; nothing was changed. Put the database back beside it, or move "
            "it away"
        )


def refuse_shared_folder(folder: Path) -> None:
    """Refuse to open files by path as root if another user can replace them.

    Raises:
        OperationRefused: The user is root, and another user can rename files in the folder.
    """
    found = folder.stat()
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
    if os.geteuid() == 0 and (found.st_uid or shared):
        raise OperationRefused(
            f"{folder} can be changed by other users, who could make root write elsewhere; nothing "
            "was written. Run this as the owner of that folder, or name another one"
        )


def _refuse_to_lock_owner_out(file: Path, found: os.stat_result) -> None:
    """Refuse to create a -wal and -shm that the owner of the database cannot write.

    In WAL mode SQLite creates missing ones for every connection. It gives them the mode of the
    database, and its owner only if the user is root.
    """
    user, folder = os.geteuid(), file.parent
    if user in {0, found.st_uid} or not os.access(folder, os.W_OK):
        return
    if file.with_name(f"{file.name}-shm").exists():
        return
    there = folder.stat()
    group = there.st_gid if there.st_mode & stat.S_ISGID else os.getegid()
    if found.st_mode & stat.S_IWOTH or (
        found.st_mode & stat.S_IWGRP and group in _groups(found.st_uid)
    ):
        return
    python = interpreter()
    if python is None:
        return
    # Another process reads the file, because this one must not open it.
    command = [python, "-I", "-S", "-c", _IN_WAL_MODE, str(file)]
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 1:  # noqa: S603 - our own code
        raise OperationRefused(
            f"{file} belongs to another user, and is in WAL mode: SQLite would create "
            f"{file.name}-wal and {file.name}-shm, which that user could not write. Run this as "
            "the owner of the file or as root"
        )


def _groups(uid: int) -> list[int]:
    import pwd  # noqa: PLC0415 - Windows lacks it, but can import this module

    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return []
    return os.getgrouplist(user.pw_name, user.pw_gid)


def refuse_without_space(
    file: Path, copy_folder: Path | None, copy_bytes: int, change_bytes: int = CHANGE_BYTES
) -> None:
    """Check that there is enough free space for the backup and the change.

    Args:
        file: The database.
        copy_folder: The folder of the backup; None if there is no backup.
        copy_bytes: The size of the backup.
        change_bytes: What the change needs in the folder of the database.

    Raises:
        OperationRefused: A file system has too little free space.
    """
    needed, same = {file.parent: change_bytes}, False
    if copy_folder is not None:
        copy_folder = existing(copy_folder)
        same = copy_folder.stat().st_dev == file.parent.stat().st_dev
        needed = {copy_folder: copy_bytes + change_bytes * same} | ({} if same else needed)
    for folder, size in needed.items():
        free = shutil.disk_usage(folder).free
        if free < size:
            # A backup elsewhere does not help where the database itself cannot grow.
            elsewhere = folder == copy_folder and (not same or free >= change_bytes)
            other_folder = ", or name another folder for the backup (--backup, SHORTSDB_BACKUP)"
            raise OperationRefused(
                f"{file}: {folder} has {_megabytes(free)} free and {_megabytes(size)} are needed "
                "for the backup and the change; nothing was changed. Make room"
                f"{other_folder * elsewhere}"
            )


def existing(folder: Path) -> Path:
    """Return a folder, or the one in which it would be made."""
    while not folder.exists():
        folder = folder.parent
    return folder


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
