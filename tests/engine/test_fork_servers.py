"""Servers that fork: gunicorn with --preload and its workers, uvicorn with several."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from forked import HANG_GUARD_SECONDS
from sqlalchemy import make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import NewUrl

GUNICORN = ["gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:0"]
SERVERS = {
    "gunicorn, sync workers": [*GUNICORN, "preloaded:wsgi"],
    "gunicorn, workers of uvicorn": [
        *GUNICORN,
        *("--worker-class", "uvicorn_worker.UvicornWorker", "preloaded:asgi"),
    ],
    "uvicorn": ["uvicorn", "--workers", "2", "--port", "0", "preloaded:asgi"],
}
REQUESTS = 120


@contextmanager
def served(command: list[str], url: str, log: Path) -> Iterator[str]:
    """Run a server and yield its address; it must end well."""
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "SHORTSDB_URL": url,
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]),
    }
    program = Path(sys.executable).parent / command[0]
    with log.open("w") as output:
        server = subprocess.Popen(
            [program, *command[1:]], env=environment, stdout=output, stderr=subprocess.PIPE, text=True
        )
    assert server.stderr is not None
    seen = ""
    try:
        for line in server.stderr:
            seen += line
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                break
        else:
            pytest.fail(f"the server did not start:\n{seen}")
    finally:
        server.send_signal(signal.SIGTERM)
        _, rest = server.communicate(timeout=HANG_GUARD_SECONDS)
    assert "Traceback" not in seen + rest, seen + rest


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_every_acknowledged_request_is_in_the_database(
    command: list[str], new_url: NewUrl, tmp_path: Path
) -> None:
    url = new_url()
    with served(command, url, tmp_path / "output") as address:
        # A connection for each request, so that all workers get some.
        def post(number: int) -> int:
            return httpx.post(f"{address}/errors/m{number}", timeout=HANG_GUARD_SECONDS).status_code

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(post, range(REQUESTS)))
        assert set(answers) <= {200, 201}
        assert httpx.get(f"{address}/errors", timeout=HANG_GUARD_SECONDS).json() == REQUESTS
    path = make_url(url).database
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(str(path))) as connection:
            assert connection.execute("SELECT count(*) FROM error_logs").fetchone() == (REQUESTS,)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
