"""Run a part of a test in a forked child, and return its result to the parent."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HANG_GUARD_SECONDS = 60


@dataclass
class Child:
    """A forked child that works; `result` waits for it."""

    pid: int
    pipe: int

    def result(self) -> Any:  # noqa: ANN401 - what the work returned
        """Return the result of the work, converted by JSON.

        Raises:
            RuntimeError: The work raised, or the child hung; the message has the details.
        """
        with os.fdopen(self.pipe, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        if not answer or status:
            raise RuntimeError(f"the child ended with status {status}: {answer.decode()}")
        what, value = json.loads(answer)
        if what == "error":
            raise RuntimeError(value)
        return value


def fork(work: Callable[[], object]) -> Child:
    """Fork, do `work` in the child, and return the child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Child(pid, reading)
    # If the child hangs, it prints a traceback and exits, which the parent detects.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.register(signal.SIGALRM, file=2, chain=True)
    signal.alarm(HANG_GUARD_SECONDS)
    try:
        answer = json.dumps(("value", work()))
    except BaseException:  # noqa: BLE001 - the parent reports it
        answer = json.dumps(("error", traceback.format_exc()))
    os.write(writing, answer.encode())
    # Not by sys.exit: the child would go on with the parent's tests.
    os._exit(0)


def in_child(work: Callable[[], object]) -> Any:  # noqa: ANN401 - what the work returned
    """Fork, do `work` in the child, and return its result, see `Child.result`."""
    return fork(work).result()


@contextmanager
def expecting(error: type[Exception], *words: str) -> Iterator[None]:
    """Fail unless an error is raised whose message contains all `words`; for code in a child."""
    try:
        yield
    except error as raised:
        missing = [word for word in words if word not in str(raised)]
        if missing:
            raise AssertionError(f"{missing} missing in {raised!r}") from raised
    else:
        raise AssertionError(f"no {error.__name__} was raised")
