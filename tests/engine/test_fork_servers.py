"""Servers that fork: gunicorn with --preload and its workers, uvicorn with several."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
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

GUNICORN = ["gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:0"]
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
# What a server says when it answers requests; the master of gunicorn listens before it forks.
READY = {"gunicorn": "Listening at: ", "uvicorn": "Application startup complete"}
REQUESTS = 60


@contextmanager
def served(command: list[str], url: str, log: Path) -> Iterator[str]:
    """Run a server and yield its address; it must end well."""
    here = HELPERS
    environment = {
        **os.environ,
        "SHORTSDB_URL": url,
        "PYTHONPATH": os.pathsep.join([str(here)]),
    }
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = str(listener.getsockname()[1])
    program = [word.replace("PORT", port) for word in command]
    with log.open("w") as output:
        server = subprocess.Popen(
            [Path(sys.executable).parent / program[0], *program[1:]],
            env=environment,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert server.stderr is not None
    seen = ""
    try:
        for line in server.stderr:
            seen += line
            if READY[command[0]] in line:
                break
        address = re.search(r"http://(127\.0\.0\.1:\d+)", seen)
        assert address, f"the server did not start:\n{seen}"
        yield address[1]
    finally:
        server.send_signal(signal.SIGTERM)
        _, rest = server.communicate(timeout=HANG_GUARD_SECONDS)
    assert "Traceback" not in seen + rest, seen + rest


def ask(address: str, method: str, path: str) -> tuple[int, str]:
    """Make one request on a connection of its own, so that all workers get some."""
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
            answers = list(pool.map(lambda path: ask(address, "POST", path), messages))
        assert {status for status, _ in answers} <= {200, 201}
        assert ask(address, "GET", "/errors") == (200, str(REQUESTS))
    path = make_url(url).database
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(str(path))) as connection:
            assert connection.execute("SELECT count(*) FROM error_logs").fetchone() == (REQUESTS,)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
