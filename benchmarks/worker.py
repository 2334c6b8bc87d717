"""A peer in a process of its own, which does what it is told, and says how long that took.

`python worker.py PEER PATH`. Each line of standard input is a JSON list: the name of a task below,
and its arguments; each line of standard output is the JSON of what it returned.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from head_file import counted, snapshots
from measure import HERE, seconds
from peers import PEERS, RUN_ID, CannotError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from peers import Peer

# The lock was not to be had, or, for a task, no connection of the pool.
WAITED_TOO_LONG = ("database is locked", "timed out", "Timed out")
READ_PAUSE = 0.01  # seconds


class Worker:
    """A process of a peer, as seen by who tells it what to do."""

    def __init__(self, peer: str, path: Path | str) -> None:
        """Start it; its first answer is that it is ready."""
        self._process = subprocess.Popen(  # noqa: S603 - this file
            [sys.executable, Path(__file__), peer, path],
            env={**os.environ, **PEERS[peer].environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE,
        )

    def ask(self, *order: str | float | list[str]) -> None:
        """Tell it to do something, and do not wait."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def answer(self) -> Any:  # noqa: ANN401 - JSON
        """Wait for what it says next.

        Raises:
            RuntimeError: It failed; why is on standard error.
        """
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, self._process.args))} failed")  # type: ignore[arg-type] # it is a list
        return json.loads(line)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let it end."""
        self._process.communicate()


def task(peer: Peer, method: str, times: int, *arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Call a method so many times; return the seconds of one call, and the last answer."""
    if method == "insert":
        arguments = (list(snapshots(*arguments)),)
    answers = []
    try:
        took = seconds(lambda: answers.append(getattr(peer, method)(*arguments)), times)
    except CannotError as reason:
        return {"cannot": str(reason)}
    return {"seconds": took, "answer": answers[-1]}


@dataclass
class Count:
    """What came of increments, one after the other, in seconds of the system's monotonic clock."""

    began: float
    limit: float
    """Seconds after which no further increment begins."""
    ended: float = 0.0
    committed: int = 0
    in_time: int = 0
    """Those of the committed ones that were so before the limit."""
    errors: int = 0
    refused: int = 0
    longest: float = 0.0
    """The longest increment, less the time to think."""

    def times(self, times: int) -> Iterator[None]:
        """Yield so many times, or until the limit, and note when that was."""
        for _ in range(times):
            if time.monotonic() - self.began >= self.limit:
                break
            yield
        self.ended = time.monotonic()

    @contextmanager
    def counting(self, think: float) -> Iterator[None]:
        """Count an increment, by the exception that it ends with."""
        begun = time.monotonic()
        try:
            yield
            self.committed += 1
            self.in_time += time.monotonic() - self.began <= self.limit
        except Exception as error:
            # Each library has classes of its own for these.
            if any(words in str(error) for words in WAITED_TOO_LONG):
                self.errors += 1
            elif any(kind.__name__ == "StaleDataError" for kind in type(error).__mro__):
                self.refused += 1
            else:
                raise
        self.longest = max(self.longest, time.monotonic() - begun - think)


def count(
    peer: Peer, key: str, times: int, think: float = 0, limit: float = math.inf
) -> dict[str, Any]:
    """Increment so many times, or for `limit` seconds; return the fields of `Count`."""
    counted = Count(time.monotonic(), limit)
    for _ in counted.times(times):
        with counted.counting(think):
            peer.increment(key, think)
    return asdict(counted)


def count_in_tasks(
    peer: Peer, keys: list[str], times: int, think: float = 0, limit: float = math.inf
) -> dict[str, Any]:
    """Do the same in a task of asyncio for each key; return what the counters were before, too."""

    async def one(key: str, times: int, think: float) -> Count:
        counted = Count(time.monotonic(), limit)
        for _ in counted.times(times):
            with counted.counting(think):
                await peer.increment_async(key, think)
        return counted

    async def everyone() -> dict[str, Any]:
        await asyncio.gather(*(one(key, 1, 0) for key in keys))  # all is connected
        before = counted(sys.argv[2])
        counts = await asyncio.gather(*(one(key, times, think) for key in keys))
        await peer.close_async()
        return {"before": before, "counts": list(map(asdict, counts))}

    return asyncio.run(everyone())


def read(peer: Peer, limit: float) -> float:
    """Read again and again for `limit` seconds; return the seconds of the longest read."""
    longest, began = 0.0, time.monotonic()
    while time.monotonic() - began < limit:
        longest = max(longest, seconds(lambda: peer.whole_run(RUN_ID)))
        time.sleep(READ_PAUSE)
    return longest


def main(name: str, path: str) -> None:
    """Do what is asked for, until nothing is."""
    peer = PEERS[name].open(path)
    tasks: dict[str, Callable[..., Any]] = {
        "task": task,
        "count": count,
        "count_in_tasks": count_in_tasks,
        "read": read,
    }
    print('"ready"', flush=True)  # noqa: T201 - how it is heard of
    for line in sys.stdin:
        kind, *arguments = json.loads(line)
        print(json.dumps(tasks[kind](peer, *arguments)), flush=True)  # noqa: T201 - as above
    # A connection that a pool has lost has a thread that would keep the process from ending.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
