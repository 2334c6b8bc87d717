"""A PostgreSQL server that is frozen: every process of it stopped, as by a paused machine."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgresql_server import Server

_PATIENCE = 60  # seconds after which a test that waits for the server fails instead of hanging


def _processes(server: Server) -> list[int]:
    postmaster = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


@contextmanager
def frozen(server: Server) -> Iterator[Event]:
    """Freeze a server for the block, and yield an event that is set if it was thawed too early."""
    processes = _processes(server)
    thawed = Event()

    def thaw() -> None:
        for process in processes:
            os.kill(process, signal.SIGCONT)

    def give_up() -> None:
        thawed.set()
        thaw()

    for process in processes:
        os.kill(process, signal.SIGSTOP)
    timer = Timer(_PATIENCE, give_up)
    timer.start()
    try:
        yield thawed
    finally:
        timer.cancel()
        thaw()
