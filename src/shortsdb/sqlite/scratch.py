"""Temporary folders that do not stay behind, even if the process that made one was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A folder with this ending is ours; one that only begins like it may be anybody's.
_SUFFIX = ".shortsdb"


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder that only its owner may read, and remove it afterwards.

    The folder is locked while it is in use. The system releases the lock of a killed process, so
    that the next call with the same arguments can tell which folders were abandoned, and removes
    them.

    Args:
        parent: The folder to make it in.
        prefix: How its name begins.

    Raises:
        OSError: It cannot be made.
    """
    _remove_abandoned(parent, prefix)
    folder, lock = _make_locked(parent, prefix)
    try:
        yield folder
    finally:
        # The next call removes what could not be removed now.
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make_locked(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=parent))
        # Before it was locked, another process may have taken the folder for an abandoned one.
        with suppress(FileNotFoundError):
            lock = _open(folder)
            # Without locks, as on some network file systems, nothing is ever removed as abandoned.
            if _lock(lock) is not False and folder.exists():
                return folder, lock
            os.close(lock)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for path in parent.iterdir():
        if not (path.name.startswith(prefix) and path.name.endswith(_SUFFIX)):
            continue
        with suppress(OSError):  # a link, a file, another user's folder, or already gone
            lock = _open(path)
            try:
                if os.fstat(lock).st_uid == os.geteuid() and _lock(lock):
                    shutil.rmtree(path)
            finally:
                os.close(lock)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)


def _lock(descriptor: int) -> bool | None:
    """Return whether the lock was free and is ours now; None if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
