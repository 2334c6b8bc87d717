"""The health routes, and an application whose database disappears and returns under load."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Self

import httpx
import pytest
import uvicorn
from inspect_sqlite import execute
from postgresql_server import Server
from project import HEAD, HELPERS
from sqlalchemy import select
from web_application import application

from shortsdb.database import init_db
from shortsdb.engine import create_async_engine, create_engine
from shortsdb.migration.revisions import revision_ids
from shortsdb.models import ErrorLog
from shortsdb.sqlite.backup import make_backup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

PATIENCE = 60  # seconds; a guard against hangs
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


class Uvicorn(uvicorn.Server):
    """A server that says when it has begun."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Prepare it; `run` serves."""
        super().__init__(config)
        self.begun = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.begun.set()


@contextmanager
def served(engine: Engine | AsyncEngine, *, timeout_seconds: float = 5.0) -> Iterator[httpx.Client]:
    """Serve the application on a free port of loopback, and give a client of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Uvicorn(uvicorn.Config(application(engine, timeout_seconds), log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        assert server.begun.wait(PATIENCE)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()
    assert not thread.is_alive()


def engine_of(kind: str, url: object) -> Engine | AsyncEngine:
    return create_engine(str(url)) if kind == "sync" else create_async_engine(str(url))


@KINDS
def test_a_healthy_database(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.db"
    init_db(path).dispose()
    backup = make_backup(path, HEAD, tmp_path / "backups")
    with served(engine_of(kind, path)) as client:
        assert client.get("/health/live").json() == {"status": "alive"}
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
        database = client.get("/health/db")
        assert database.status_code == 200
        found = database.json()
        assert found.pop("free_bytes") > 0
        assert found.pop("latency_seconds") > 0
        assert found.pop("size_bytes") > 0
        assert 0 <= found.pop("last_backup_age_seconds") < 3600
        assert found == {
            "database": None,
            "ok": True,
            "reachable": True,
            "revision": HEAD,
            "shape": None,
            "head": HEAD,
            "known": True,
            "pending": [],
            "writable": True,
            "foreign_keys": True,
            "journal_mode": "wal",
            "last_backup": backup.name,
            "problems": [],
            "error": None,
        }


@KINDS
def test_the_ready_route_gives_the_reason(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "secret-place.db"
    init_db(path).dispose()
    with served(engine_of(kind, path)) as client:
        for change, why in (
            (
                "UPDATE alembic_version SET version_num = '0006'",
                {"reason": "pending", "pending": revision_ids()[6:]},
            ),
            (
                "UPDATE alembic_version SET version_num = '0999'",
                {"reason": "unknown revision", "revision": "0999"},
            ),
            (
                "DELETE FROM alembic_version; DROP TABLE clips",
                {"reason": "unknown revision", "revision": None},
            ),
        ):
            execute(path, change)
            ready = client.get("/health/ready")
            assert (ready.status_code, ready.json()) == (503, {"status": "not ready", **why})
            assert client.get("/health/db").status_code == 503
            assert client.get("/health/live").status_code == 200
        path.rename(tmp_path / "away.db")
        ready = client.get("/health/ready")
        assert ready.json() == {"status": "not ready", "reason": "unreachable"}
        assert ready.status_code == 503
        for page in ("/health/db", "/errors"):
            failed = client.get(page)
            assert failed.status_code == 503
            assert "secret-place" not in failed.text
            assert "SELECT" not in failed.text
        assert client.get("/health/live").status_code == 200
    assert not path.exists()


@KINDS
def test_a_hanging_database_counts_as_unreachable(kind: str) -> None:
    """A server that takes the connection and never answers; probes do not pile up."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"postgresql+psycopg://u:hush@127.0.0.1:{listener.getsockname()[1]}/d"
    with closing(listener), served(engine_of(kind, url), timeout_seconds=0.2) as client:
        for _ in range(3):
            found = client.get("/health/ready")
            assert found.status_code == 503
            assert found.json() == {"status": "not ready", "reason": "unreachable"}
        problems = client.get("/health/db").json()["problems"]
        assert problems == ["it has not answered within 0.2 s"]
        assert client.get("/health/live").status_code == 200
        hanging, _ = listener.accept()  # the start's, which the probes wait for too
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
        hanging.close()


def test_a_session_commits_before_the_response_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    init_db(path).dispose()
    with served(create_engine(path)) as client:
        assert client.post("/errors/one").status_code == 201
        assert client.get("/errors").json() == 1
        assert client.post("/refused").status_code == 409
        # After an error uvicorn closes the connection, and the client may not have noticed yet.
        close = {"Connection": "close"}
        assert client.post("/broken-at-commit", headers=close).status_code == 500
        assert client.get("/errors").json() == 1


def test_an_application_error_is_not_reported_as_database_failure(postgres: Server) -> None:
    database = postgres.create_database()
    init_db(database.url).dispose()
    with served(create_engine(database.url)) as client:
        failed = client.get("/bad-sql/SELEKT 1")
        assert failed.status_code == 500
        assert "SELEKT" not in failed.text


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            "UPDATE alembic_version SET version_num = '0999'",
            f"the database is at revision 0999, and this release knows none after {HEAD}",
        ),
        (
            "DROP TABLE alembic_version; ALTER TABLE clips DROP COLUMN end_time_seconds",
            "the database has no version, and its tables are those of no revision",
        ),
    ],
    ids=["newer", "none"],
)
def test_the_application_does_not_start_on_an_unknown_schema(
    tmp_path: Path, change: str, why: str
) -> None:
    path = tmp_path / "x.db"
    init_db(path).dispose()
    execute(path, change)
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--factory", "web_application:create", "--port", "0"],
        cwd=HELPERS,
        env={**os.environ, "SHORTSDB_URL": str(path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode != 0
    assert why in done.stderr


class Load:
    """Clients that write without pause, and note which messages were acknowledged."""

    def __init__(self, client: httpx.Client) -> None:
        """Begin with `with`."""
        self.client = client
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []
        self.failed = 0
        self.strange: list[str] = []
        self._change = threading.Condition()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(4)]

    def _run(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            message = f"{number}-{count}"
            try:
                answer = self.client.post(f"/errors/{message}")
            except httpx.HTTPError as error:
                self.strange.append(repr(error))
                return
            with self._change:
                if answer.status_code == 201:
                    self.acknowledged.append(message)
                elif (answer.status_code, answer.json()) == (
                    503,
                    {"detail": "the database is not available"},
                ):
                    self.failed += 1
                elif answer.status_code == 503 and "it is unknown" in answer.json()["detail"]:
                    self.unknown.append(message)
                else:
                    self.strange.append(f"{answer.status_code} {answer.text}")
                self._change.notify_all()

    def wait_for(self, *, acknowledged: int = 0, failed: int = 0) -> None:
        """Wait for that many more answers of either kind."""
        with self._change:
            acknowledged += len(self.acknowledged)
            failed += self.failed
            assert self._change.wait_for(
                lambda: len(self.acknowledged) >= acknowledged and self.failed >= failed, PATIENCE
            )

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, when all have their last answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)


def messages(url: object) -> list[str]:
    engine = create_engine(str(url))
    with engine.connect() as connection:
        found = list(connection.scalars(select(ErrorLog.error_message)))
    engine.dispose()
    return found


def until(client: httpx.Client, status: int) -> None:
    """Ask until /health/ready answers so; an answer may have been under way before."""
    for _ in range(100):
        if client.get("/health/ready").status_code == status:
            return
    raise AssertionError(f"/health/ready never answered {status}")


@KINDS
def test_a_file_is_moved_away_and_back_under_load(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.db"
    init_db(path).dispose()
    with served(engine_of(kind, path)) as client, Load(client) as load:
        for _ in range(2):
            load.wait_for(acknowledged=20)
            path.rename(tmp_path / "away.db")
            until(client, 503)
            load.wait_for(failed=20)
            assert not path.exists()
            (tmp_path / "away.db").rename(path)
            until(client, 200)
        load.wait_for(acknowledged=20)
    assert not load.strange + load.unknown
    found = messages(path)
    assert len(set(found)) == len(found)
    assert set(load.acknowledged) <= set(found)


@KINDS
def test_a_replaced_file_is_noticed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.db"
    init_db(path).dispose()
    with served(engine_of(kind, path)) as client:
        assert client.post("/errors/before").status_code == 201
        backup = make_backup(path, HEAD, tmp_path / "backups")
        assert client.post("/errors/lost").status_code == 201
        (tmp_path / "old").mkdir()
        for file in tmp_path.glob("x.db*"):
            file.rename(tmp_path / "old" / file.name)
        backup.rename(path)
        assert client.get("/errors").json() == 1
        assert client.post("/errors/after").status_code == 201
        assert client.get("/health/ready").status_code == 200
    assert messages(path) == ["before", "after"]
    assert messages(tmp_path / "old" / "x.db") == ["before", "lost"]


@KINDS
def test_a_server_is_stopped_and_started_under_load(kind: str) -> None:
    with Server() as server:
        database = server.create_database()
        init_db(database.url).dispose()
        with served(engine_of(kind, database.url)) as client, Load(client) as load:
            load.wait_for(acknowledged=20)
            server.stop()
            until(client, 503)
            load.wait_for(failed=20)
            server.start()
            until(client, 200)
            load.wait_for(acknowledged=20)
        assert not load.strange
        found = messages(database.url)
        assert len(set(found)) == len(found)
        # The server may stop during a COMMIT, whose outcome is then reported as unknown.
        assert set(load.acknowledged) <= set(found) <= {*load.acknowledged, *load.unknown}
