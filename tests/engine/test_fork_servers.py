"""Forking servers: gunicorn with --preload and its workers, uvicorn with several."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from forked import HANG_GUARD_SECONDS
from project import HELPERS
from sqlalchemy import make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from project import NewUrl

GUNICORN = ["gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:PORT"]
SERVERS = {
    "gunicorn, sync workers": [*GUNICORN, "preloaded:wsgi"],
    "gunicorn, workers of uvicorn": [
        *GUNICORN,
        *("--worker-class", "uvicorn_worker.UvicornWorker", "preloaded:asgi"),
    ],
    "uvicorn": [
        # It kills a worker that has not started within so many seconds.
        *("uvicorn", "--workers", "2", "--port", "PORT", "--timeout-worker-healthcheck", "60"),
        "preloaded:asgi",
    ],
}
REQUESTS = 60


@contextmanager
def served(command: list[str], url: str, log: Path) -> Iterator[str]:
    """Run a server and yield its address once it answers; it must end well."""
    environment = {**os.environ, "SHORTSDB_URL": url, "PYTHONPATH": str(HELPERS)}
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    program = [word.replace("PORT", address.rpartition(":")[2]) for word in command]
    with log.open("w") as output:
        server = subprocess.Popen(
            [Path(sys.executable).parent / program[0], *program[1:]],
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        give_up = time.monotonic() + HANG_GUARD_SECONDS
        while not answers(address):
            assert server.poll() is None, f"the server ended:\n{log.read_text()}"
            assert time.monotonic() < give_up, f"the server does not answer:\n{log.read_text()}"
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(HANG_GUARD_SECONDS)
    assert "Traceback" not in log.read_text(), log.read_text()


def answers(address: str) -> bool:
    """Return whether a worker answers; the socket is there before the workers are."""
    try:
        return ask(address, "GET", "/errors")[0] == 200
    except OSError:
        time.sleep(0.1)  # not to take from the server the time that it starts in
        return False


def ask(address: str, method: str, path: str) -> tuple[int, str]:
    """Make one request on a new connection, so that all workers get some."""
    with closing(HTTPConnection(address, timeout=HANG_GUARD_SECONDS)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_every_acknowledged_request_is_in_the_database(
    command: list[str], new_url: NewUrl, tmp_path: Path
) -> None:
    url = new_url()
    with served(command, url, tmp_path / "output") as address:
        with ThreadPoolExecutor(4) as pool:
            messages = [f"/errors/m{number}" for number in range(REQUESTS)]
            made = list(pool.map(lambda path: ask(address, "POST", path), messages))
        assert {status for status, _ in made} <= {200, 201}
        assert ask(address, "GET", "/errors") == (200, str(REQUESTS))
    path = make_url(url).database
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(str(path))) as connection:
            assert connection.execute("SELECT count(*) FROM error_logs").fetchone() == (REQUESTS,)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
