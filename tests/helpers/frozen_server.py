"""A frozen PostgreSQL server: all its processes are stopped, as on a paused machine."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgresql_server import Server

_PATIENCE = 60  # seconds after which a test that waits for the server fails instead of hanging


def _stop(server: Server) -> list[int]:
    """Stop every process of a server, and return the stopped processes."""
    postmaster = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGSTOP)  # first: from now on there is no new child
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    stopped = [postmaster]
    for child in map(int, children):
        with suppress(ProcessLookupError):  # it was about to end
            os.kill(child, signal.SIGSTOP)
            stopped.append(child)
    return stopped


@contextmanager
def frozen(server: Server) -> Iterator[Event]:
    """Freeze a server for the block, and yield an event that is set if it was thawed too early."""
    processes = _stop(server)
    thawed = Event()

    def thaw() -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def give_up() -> None:
        thawed.set()
        thaw()

    timer = Timer(_PATIENCE, give_up)
    timer.start()
    try:
        yield thawed
    finally:
        timer.cancel()
        thaw()
