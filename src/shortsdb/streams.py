"""Standard streams that never raise, so that a program finishes if they are closed or broken."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Lenient(io.FileIO):
    """A writable descriptor that stores its first error instead of raising it."""

    failure: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        size = memoryview(data).nbytes
        try:
            written = super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            return size
        return size if written is None else written  # None means a full, non-blocking pipe


def make_lenient() -> None:
    """Suppress write errors of the standard streams, and reserve their descriptors.

    If descriptor 0, 1 or 2 is closed, the next file opened would get its number, and printed text
    would be written into that file. So closed ones are opened on /dev/null first. SQLite avoids
    these numbers for databases (SQLITE_MINIMUM_FILE_DESCRIPTOR, https://sqlite.org/compile.html),
    but other code opens backups, sockets and temporary files too.

    Replaces `sys.stdout` and `sys.stderr`, unless they were replaced before. Characters that the
    terminal's encoding lacks are printed as escapes.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # open() returns the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor
    if sys.stdout is sys.__stdout__:
        sys.stdout = _lenient(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _lenient(2, sys.stderr)


def _lenient(descriptor: int, replaced: object) -> io.TextIOWrapper:
    known = replaced if isinstance(replaced, io.TextIOWrapper) else None  # None if it was closed
    if known is not None:
        known.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Lenient(descriptor, "w", closefd=False)),
        encoding=known.encoding if known else "utf-8",
        errors="backslashreplace",
        # A stream that Python does not buffer (-u, PYTHONUNBUFFERED) is buffered by line.
        line_buffering=known is not None and (known.line_buffering or known.write_through),
    )


def output_failure() -> OSError | None:
    """Return the first error of standard output; None if all output was written."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, _Lenient):
        return None  # a stream of the caller, which raises its errors
    sys.stdout.flush()
    return raw.failure
