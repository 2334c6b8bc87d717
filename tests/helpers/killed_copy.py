"""Run copies that kill themselves with SIGKILL at a counted point.

`killed_copy.py SOURCE` reads lines "TARGET POINT". For each it makes a copy in a new process, which
is killed before the call with this number; 0 means never. It prints the number of such calls, or
"killed". A point is a statement, a block of COPY, a COMMIT, a step of a cursor, or a change of the
file system.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from shortsdb.transfer import copy

if TYPE_CHECKING:
    from types import FrameType

# By the calls that make them, in Python and in C.
_PYTHON = {"do_execute", "do_commit", "do_rollback"}
_C = {"execute", "executemany", "fetchmany", "backup", "fsync", "link", "mkdir", "rename", "rmdir"}
_C |= {"unlink", "chmod"}


def main(source: str) -> None:
    """Serve until the input ends; what takes long to import is imported once."""
    for line in sys.stdin:
        target, point = line.split()
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                print("killed", flush=True)  # noqa: T201 - read by the test
            elif status:
                print("failed", flush=True)  # noqa: T201 - as above
        else:
            try:
                run(source, target, int(point))
            finally:
                os._exit(1)


def run(source: str, target: str, point: int) -> None:
    """Copy, and do not return."""
    passed = 0

    def look(frame: FrameType, event: str, called: Any) -> None:  # noqa: ANN401 - of sys.setprofile
        nonlocal passed
        if event == "call":
            code = frame.f_code
            of_copy = code.co_name == "write" and code.co_filename.endswith("psycopg/_copy.py")
            counts = of_copy or code.co_name in _PYTHON
        else:
            counts = event == "c_call" and called.__name__ in _C
        if counts:
            passed += 1
            if passed == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(look)
    copy(source, target)
    sys.setprofile(None)
    print(passed, flush=True)  # noqa: T201 - as above
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
