"""The standard streams of a program: its work goes on when they are closed, full or broken."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Lenient(io.FileIO):
    """A descriptor to write to that remembers its first failure instead of raising it."""

    failure: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        size = memoryview(data).nbytes
        try:
            written = super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            return size
        return size if written is None else written  # None: a pipe that does not block, and is full


def make_lenient() -> None:
    """Let nothing that is printed stop this program, and no file become a standard stream.

    A file opened while descriptor 0, 1 or 2 is closed would get that number, and whatever is
    printed would be written into it: /dev/null takes their place first. SQLite itself never opens a
    database as one of them (SQLITE_MINIMUM_FILE_DESCRIPTOR, https://sqlite.org/compile.html), but
    backups, sockets and temporary files are not opened by SQLite alone.

    Replaces `sys.stdout` and `sys.stderr` unless somebody else has. A character that the encoding
    of the terminal does not have is printed as an escape.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor
    if sys.stdout is sys.__stdout__:
        sys.stdout = _lenient(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _lenient(2, sys.stderr)


def _lenient(descriptor: int, replaced: object) -> io.TextIOWrapper:
    known = replaced if isinstance(replaced, io.TextIOWrapper) else None  # None: it was closed
    if known is not None:
        known.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Lenient(descriptor, "w", closefd=False)),
        encoding=known.encoding if known else "utf-8",
        errors="backslashreplace",
        # What Python does not buffer at all (-u, PYTHONUNBUFFERED) is written line by line.
        line_buffering=known is not None and (known.line_buffering or known.write_through),
    )


def output_failure() -> OSError | None:
    """Return why something printed to standard output was not written; None if all of it was."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, _Lenient):
        return None  # another's stream, which raises
    sys.stdout.flush()
    return raw.failure
