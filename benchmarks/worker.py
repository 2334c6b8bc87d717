"""A peer in a process of its own, which does what it is told, and says how long that took.

`python worker.py PEER PATH`. Each line of standard input is a JSON list: the name of a task below,
and its arguments; each line of standard output is the JSON of what it returned.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from head_file import counter, snapshots
from measure import HERE, seconds
from peers import PEERS, CannotError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from peers import Peer

LOCKED = "database is locked"


class Worker:
    """A process of a peer, as seen by who tells it what to do."""

    def __init__(self, peer: str, path: Path) -> None:
        """Start it; its first answer is that it is ready."""
        self._process = subprocess.Popen(  # noqa: S603 - this file
            [sys.executable, Path(__file__), peer, path],
            env={**os.environ, **PEERS[peer].environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE,
        )

    def ask(self, *order: str | int | list[str]) -> None:
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


def count(peer: Peer, times: int) -> dict[str, Any]:
    """Increment so many times; return when that began and ended, and how often it was locked."""
    errors = 0
    began = time.monotonic()
    for _ in range(times):
        try:
            peer.increment()
        except Exception as error:  # noqa: BLE001 - each library has a class of its own for it
            errors += _locked(error)
    return {"began": began, "ended": time.monotonic(), "errors": errors}


def count_in_tasks(peer: Peer, tasks: int, times: int) -> dict[str, Any]:
    """Do the same in so many tasks of asyncio at once; return what the counter was before, too."""

    async def one(times: int) -> int:
        errors = 0
        for _ in range(times):
            try:
                await peer.increment_async()
            except Exception as error:  # noqa: BLE001 - as above
                errors += _locked(error)
        return errors

    async def everyone() -> dict[str, Any]:
        await asyncio.gather(*(one(1) for _ in range(tasks)))  # all is connected
        before = counter(sys.argv[2])
        began = time.monotonic()
        errors = sum(await asyncio.gather(*(one(times) for _ in range(tasks))))
        ended = time.monotonic()
        await peer.close_async()
        return {"before": before, "began": began, "ended": ended, "errors": errors}

    return asyncio.run(everyone())


def _locked(error: Exception) -> int:
    if LOCKED not in str(error):
        raise error
    return 1


def main(name: str, path: str) -> None:
    """Do what is asked for, until nothing is."""
    peer = PEERS[name].open(path)
    tasks: dict[str, Callable[..., Any]] = {
        "task": task,
        "count": count,
        "count_in_tasks": count_in_tasks,
    }
    print('"ready"', flush=True)  # noqa: T201 - how it is heard of
    for line in sys.stdin:
        kind, *arguments = json.loads(line)
        print(json.dumps(tasks[kind](peer, *arguments)), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
