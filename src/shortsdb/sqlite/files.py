"""Files and folders: created, opened, replaced and deleted by descriptor, with safe permissions.

Root works on files in folders of other users, who can replace any name there at any moment. So a
folder is opened once, and everything in it is done relative to its descriptor: what is created is
new (O_EXCL), what is opened is not a link (O_NOFOLLOW), and owner and mode are set on descriptors.
SQLite opens files by their path: `refuse_other_file` compares what it has opened with what was
meant.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from shortsdb.errors import OperationRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACCESS_ACL = "system.posix_acl_access"
_ACLS = (_ACCESS_ACL, "system.posix_acl_default")


def identity(found: os.stat_result) -> tuple[int, int]:
    """Return the device and inode of a file: what is left of it when its name is replaced."""
    return found.st_dev, found.st_ino


def behind_link(path: Path) -> Path:
    """Return the file that a link leads to, beside which SQLite has its journal; else the path.

    Raises:
        OperationRefused: The user is root, and the link is of another user who does not own the
            file behind it: that user would choose which file root writes to.
    """
    try:
        link = os.lstat(path)
    except (OSError, ValueError):  # it does not exist, or has a NUL in it
        return path
    if not stat.S_ISLNK(link.st_mode):
        return path
    # realpath, because Path.resolve raises a RuntimeError for links that lead in a circle.
    behind = Path(os.path.realpath(path))
    if os.geteuid() == 0 and link.st_uid not in {0, _owner(behind)}:
        raise OperationRefused(
            f"{path} is a link of another user to a file that is not that user's, which is not "
            "followed for root; name the file that it leads to"
        )
    return behind


def _owner(path: Path) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


@contextmanager
def open_folder(folder: Path) -> Iterator[int]:
    """Give the descriptor of a folder, for `dir_fd` and fsync.

    Raises:
        OperationRefused: It is a link, and the user is root: whoever may replace the link would
            choose where root writes.
        OSError: It cannot be opened.
    """
    path = folder.absolute()
    path = Path(os.path.realpath(path.parent)) / path.name
    no_link = os.O_NOFOLLOW if os.geteuid() == 0 else 0
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | no_link)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR} and path.is_symlink():
            raise OperationRefused(
                f"{folder} is a link, which is not followed for root; name the folder that it "
                "leads to"
            ) from error
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_folder(folder: Path, owner: os.stat_result) -> None:
    """Make a folder, durably, unless it is there.

    It is as open as the folder that it is in, except that only its owner and group may write to
    it, and only its owner if that folder is sticky like /tmp. ACLs are not inherited.

    Args:
        folder: The folder.
        owner: The file whose owner is to use it: what root makes, the service must be able to use.
    """
    if os.path.lexists(folder):
        return
    with open_folder(folder.parent) as above:
        there = os.fstat(above)
        mode = there.st_mode & (0o755 if there.st_mode & stat.S_ISVTX else 0o775)
        with suppress(FileExistsError):
            os.mkdir(folder.name, mode, dir_fd=above)
            with open_folder(folder) as made:
                mode = os.fstat(made).st_mode & mode  # without what the umask takes away
                _remove_acls(made)
                os.fchmod(made, _give(made, owner.st_uid, there.st_gid, mode))
        os.fsync(above)  # else a power cut takes the folder, with what is in it


def create_file(name: str, folder: int) -> int:
    """Create a file that only its owner may read, and return its descriptor.

    Args:
        name: Its name.
        folder: The descriptor of its folder.

    Raises:
        FileExistsError: The name is taken.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    # A default ACL of the folder would open the file to others as soon as its mode is set.
    _remove_acls(descriptor)
    return descriptor


@dataclass(frozen=True)
class NewFile:
    """A file that was created here; only its descriptor is sure to lead to it.

    As a context manager it is deleted at the end, unless it was renamed.
    """

    path: Path
    folder: int
    """The descriptor of its folder."""
    descriptor: int

    @classmethod
    def create(cls, path: Path, folder: int) -> Self:
        """Create it, see `create_file`."""
        return cls(path, folder, create_file(path.name, folder))

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, and delete it unless it was renamed."""
        os.close(self.descriptor)
        with suppress(FileNotFoundError):
            os.unlink(self.path.name, dir_fd=self.folder)

    def rename(self, name: str, folder: int | None = None) -> None:
        """Give the file another name, durably; a file of that name is replaced.

        Args:
            name: The name.
            folder: The descriptor of the folder to move it to; None for its own.

        Raises:
            OperationRefused: Another file was put in its place.
        """
        folder = self.folder if folder is None else folder
        os.rename(self.path.name, name, src_dir_fd=self.folder, dst_dir_fd=folder)
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if identity(found) != identity(os.fstat(self.descriptor)):
            raise _replaced(self.path)
        os.fsync(folder)


def share(descriptor: int, source: Path, found: os.stat_result, folder: Path) -> None:
    """Give a copy the owner of its source, and a mode with which nobody gains access.

    The copy gets the mode of its source, without the permissions of those who cannot reach the
    source for a folder above it that is not above the copy too. Where an ACL is involved only the
    owner gets any.

    Args:
        descriptor: The copy.
        source: The file that it was made from.
        found: What is known of that file.
        folder: The folder of the copy.
    """
    mode = _mode_of_copy(source, found, folder)
    os.fchmod(descriptor, _give(descriptor, found.st_uid, found.st_gid, mode))


def _mode_of_copy(source: Path, found: os.stat_result, folder: Path) -> int:
    mode = found.st_mode & 0o777
    there = Path(os.path.realpath(folder))
    only_above_source = set(Path(os.path.realpath(source)).parents) - {there, *there.parents}
    for above in only_above_source:
        state = above.stat()
        if not state.st_mode & stat.S_IXOTH:
            mode &= ~0o007
        # The group of the file comes to a folder of another group as others do.
        of_group = stat.S_IXGRP if state.st_gid == found.st_gid else stat.S_IXOTH
        if not state.st_mode & of_group:
            mode &= ~0o070
    if any(map(_has_acl, (source, *only_above_source))):
        mode &= 0o700
    return mode


def _give(descriptor: int, uid: int, gid: int, mode: int) -> int:
    """Give a file or folder an owner and a group, and return the mode that it may have then."""
    try:
        os.fchown(descriptor, uid, gid)
    except PermissionError:
        with suppress(PermissionError):
            os.fchown(descriptor, -1, gid)
    # The group's permissions are meant for that group and no other.
    return mode if os.fstat(descriptor).st_gid == gid else mode & ~0o070


def _has_acl(path: Path) -> bool:
    if sys.platform != "linux":
        return False
    try:
        return _ACCESS_ACL in os.listxattr(path)
    except OSError:  # the file system knows none
        return False


def _remove_acls(descriptor: int) -> None:
    if sys.platform != "linux":
        return
    for acl in _ACLS:
        with suppress(OSError):  # there is none
            os.removexattr(descriptor, acl)


def fsync(path: Path) -> None:
    """Make a file or a folder's list of files durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_files() -> dict[int, tuple[int, int]]:
    """Return the identities of the regular files that this process has open, by descriptor."""
    found = {}
    # macOS has the second.
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"  # noqa: PTH112
    for name in os.listdir(folder):  # noqa: PTH208 - Path would be made of each
        with suppress(OSError):  # the descriptor of the list itself
            there = os.fstat(int(name))
            if stat.S_ISREG(there.st_mode):
                found[int(name)] = identity(there)
    return found


def refuse_other_file(
    before: dict[int, tuple[int, int]], expected: os.stat_result, path: Path
) -> None:
    """Look whether a file that was opened by its path is the one that was meant.

    Args:
        before: What `open_files` returned before.
        expected: What is known of the file that was meant.
        path: Its path.

    Raises:
        OperationRefused: Another file was opened.
    """
    after = open_files()
    opened = {file for number, file in after.items() if before.get(number) != file}
    # SQLite reuses the descriptor of a connection that it could not close for the locks of others.
    if identity(expected) not in (opened or after.values()):
        raise _replaced(path)


def _replaced(path: Path) -> OperationRefused:
    return OperationRefused(
        f"{path} was replaced by another file meanwhile; nothing was changed. Find out who did "
        "that, and run the same again"
    )
