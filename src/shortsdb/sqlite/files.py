"""Create, open, rename and delete files and folders by descriptor, with safe permissions.

Root may work on files in folders of other users, who can replace any name there at any moment. So a
folder is opened once, and everything in it is done relative to its descriptor: files are created
with O_EXCL and opened with O_NOFOLLOW, and owner and mode are set on descriptors. SQLite opens
files by path, so `refuse_other_file` checks afterwards which file it has opened.
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
    """Return the device and inode of a file, which identify it even if its name is replaced."""
    return found.st_dev, found.st_ino


def identity_of(path: str | Path) -> tuple[int, int] | None:
    """Return the `identity` of the file at a path, None if it does not exist."""
    try:
        return identity(os.stat(path))  # noqa: PTH116 - Path("") would be the current folder
    except OSError:
        return None


def behind_link(path: Path) -> Path:
    """Return the file that a link leads to, where SQLite keeps its journal, or the path itself.

    Raises:
        OperationRefused: The user is root, and the owner of the link does not own the file behind
            it: that user would choose which file root writes to.
    """
    try:
        link = os.lstat(path)
    except (OSError, ValueError):  # the path does not exist, or contains a NUL
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
    """Yield the descriptor of a folder, for `dir_fd` and fsync.

    Raises:
        OperationRefused: The user is root, and the folder is a link, whose owner would choose where
            root writes.
        OSError: The folder cannot be opened.
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
    """Create a folder durably, unless it exists.

    It gets the mode of its parent folder, but only its owner and group may write to it, and only
    its owner if the parent is sticky like /tmp. ACLs are not inherited.

    Args:
        folder: The folder.
        owner: The file whose owner will own the folders, so that a service can use what root made.
    """
    if os.path.lexists(folder):
        return
    with open_folder(folder.parent) as above:
        there = os.fstat(above)
        mode = there.st_mode & (0o755 if there.st_mode & stat.S_ISVTX else 0o775)
        with suppress(FileExistsError):
            os.mkdir(folder.name, mode, dir_fd=above)
            with open_folder(folder) as made:
                mode = os.fstat(made).st_mode & mode  # keep the restrictions of the umask
                _remove_acls(made)
                os.fchmod(made, _give(made, owner.st_uid, there.st_gid, mode))
        os.fsync(above)  # otherwise a power cut can remove the folder and its files


def create_file(name: str, folder: int) -> int:
    """Create a file that only its owner can read, and return its descriptor.

    Args:
        name: The name of the file.
        folder: The descriptor of the folder.

    Raises:
        FileExistsError: A file of that name exists.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    # A default ACL of the folder would give others access as soon as the mode is set.
    _remove_acls(descriptor)
    return descriptor


@dataclass(frozen=True)
class NewFile:
    """A newly created file, identified by its descriptor because its name can be replaced.

    Used as a context manager, it is deleted at the end unless it was renamed.
    """

    path: Path
    folder: int
    """The descriptor of the folder."""
    descriptor: int

    @classmethod
    def create(cls, path: Path, folder: int) -> Self:
        """Create the file, see `create_file`."""
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
        """Rename the file durably, replacing a file of that name.

        Args:
            name: The new name.
            folder: The descriptor of the folder to move the file to; None for its own.

        Raises:
            OperationRefused: Somebody has put another file in its place.
        """
        folder = self.folder if folder is None else folder
        os.rename(self.path.name, name, src_dir_fd=self.folder, dst_dir_fd=folder)
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if identity(found) != identity(os.fstat(self.descriptor)):
            raise _replaced(self.path)
        os.fsync(folder)


def share(descriptor: int, source: Path, found: os.stat_result, folder: Path) -> None:
    """Give a copy the owner of its source, and a mode that gives nobody new access.

    The copy gets the mode of its source, without permissions for the group or others if one of the
    source's parent folders, which is not a parent of the copy, keeps them out. If an ACL is
    involved, only the owner gets permissions.

    Args:
        descriptor: The descriptor of the copy.
        source: The file that was copied.
        found: The stat result of that file.
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
        # In a folder of another group, the permissions for others apply to the file's group.
        of_group = stat.S_IXGRP if state.st_gid == found.st_gid else stat.S_IXOTH
        if not state.st_mode & of_group:
            mode &= ~0o070
    if any(map(_has_acl, (source, *only_above_source))):
        mode &= 0o700
    return mode


def _give(descriptor: int, uid: int, gid: int, mode: int) -> int:
    """Set the owner and group of a file or folder, and return the mode that is safe with them."""
    try:
        os.fchown(descriptor, uid, gid)
    except PermissionError:
        with suppress(PermissionError):
            os.fchown(descriptor, -1, gid)
    # If the group could not be set, its permissions must not apply to another group.
    return mode if os.fstat(descriptor).st_gid == gid else mode & ~0o070


def _has_acl(path: Path) -> bool:
    if sys.platform != "linux":
        return False
    try:
        return _ACCESS_ACL in os.listxattr(path)
    except OSError:  # the file system does not support ACLs
        return False


def _remove_acls(descriptor: int) -> None:
    if sys.platform != "linux":
        return
    for acl in _ACLS:
        with suppress(OSError):  # there is no such ACL
            os.removexattr(descriptor, acl)


def fsync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_files() -> dict[int, tuple[int, int]]:
    """Return the identities of the regular files that this process has open, by descriptor."""
    found = {}
    # Linux has the first folder, macOS the second.
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"  # noqa: PTH112
    for name in os.listdir(folder):  # noqa: PTH208 - faster without a Path for each
        with suppress(OSError):  # the descriptor of the listing is closed already
            there = os.fstat(int(name))
            if stat.S_ISREG(there.st_mode):
                found[int(name)] = identity(there)
    return found


def refuse_other_file(
    before: dict[int, tuple[int, int]], expected: os.stat_result, path: Path
) -> None:
    """Check that a file opened by its path is the expected one.

    Args:
        before: The result of `open_files` before the file was opened.
        expected: The stat result of the expected file.
        path: The path.

    Raises:
        OperationRefused: Another file was opened.
    """
    after = open_files()
    opened = {file for number, file in after.items() if before.get(number) != file}
    # SQLite may reuse the descriptor of a closed connection, kept open because of POSIX locks.
    if identity(expected) not in (opened or after.values()):
        raise _replaced(path)


def _replaced(path: Path) -> OperationRefused:
    return OperationRefused(
        f"{path} was replaced by another file at the same time; nothing was changed. Find out "
        "what replaced it, and run the command again"
    )
