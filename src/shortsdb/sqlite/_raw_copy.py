"""Copy a file, then copy the blocks that have changed since.

`python _raw_copy.py FILE IDENTITY DESCRIPTOR`: IDENTITY is the device and inode of FILE, as
`files.identity` returns them, and DESCRIPTOR is the inherited descriptor of the copy.

This is a separate program, because a process that closes a database file drops the locks that
SQLite holds on it (https://sqlite.org/howtocorrupt.html, section 2.2). It imports as little as
possible.

It prints shares from 0 to 1 during the first copy, starting at once, and then COPIED. It waits for
a line on standard input, copies again, and prints EQUAL. Only that line signals success: the exit
code is lost if the parent ignores SIGCHLD.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

COPIED = "copied\n"
EQUAL = "equal\n"

_BLOCK = 2**20
_BLOCKS_A_LINE = 64


def sync_file(copy: BinaryIO, file: BinaryIO, *, talk: bool) -> None:
    """Overwrite the blocks of the copy that differ from the file."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    at = 0
    while block := file.read(_BLOCK):
        copy.seek(at)
        if copy.read(len(block)) != block:
            copy.seek(at)
            copy.write(block)
        at += len(block)
        if talk and at % (_BLOCK * _BLOCKS_A_LINE) == 0:
            print(min(at / max(size, 1), 1.0), flush=True)  # noqa: T201 - its output
    copy.truncate(at)
    copy.flush()


def _open_file(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def main(path: str, identity: str, copy_descriptor: str) -> None:
    """Copy twice."""
    print(0.0, flush=True)  # noqa: T201 - its output
    # Unbuffered, so that the second pass reads the file again.
    with (
        open(path, "rb", buffering=0, opener=_open_file) as file,
        os.fdopen(int(copy_descriptor), "r+b") as copy,
    ):
        found = os.fstat(file.fileno())
        if str((found.st_dev, found.st_ino)) != identity:
            sys.exit(1)
        sync_file(copy, file, talk=True)
        # Writers wait during the second pass, so write as much as possible to disk before it.
        os.fsync(copy.fileno())
        sys.stdout.write(COPIED)
        sys.stdout.flush()
        if sys.stdin.readline():  # EOF means that the parent gave up
            sync_file(copy, file, talk=False)
            sys.stdout.write(EQUAL)


if __name__ == "__main__":
    main(*sys.argv[1:])
