"""A check of what hangs returns within its timeout, and checks do not pile up."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from frozen_server import frozen
from postgresql_server import Server
from project import HEAD, PROGRAMS
from sqlalchemy import NullPool

import shortsdb.health.engines
from shortsdb.cli import main
from shortsdb.database import check_db_health, check_db_health_async, init_db
from shortsdb.engine import create_async_engine, create_engine
from shortsdb.health import check_file_health

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROBLEM = ("it has not answered within 0.2 s",)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Return a server that may be frozen."""
    with Server() as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    """Return the URL of a database at head."""
    database = server.create_database()
    init_db(database.url).dispose()
    return database.url


@pytest.mark.parametrize("pooled", [True, False])
def test_a_frozen_server(server: Server, url: str, *, pooled: bool) -> None:
    engine = create_engine(url)
    if pooled:
        assert check_db_health(engine).ok
    with frozen(server) as thawed:
        threads = threading.active_count()
        for _ in range(3):
            health = check_db_health(engine, timeout_seconds=0.2)
            assert (health.reachable, health.problems) == (False, PROBLEM)
            assert (health.writable, health.latency_seconds) == (None, None)
        assert threading.active_count() == threads + 1
        assert not thawed.is_set()
    assert check_db_health(engine).ok
    assert check_db_health(engine, timeout_seconds=60).ok
    engine.dispose()


def test_a_frozen_server_on_an_async_engine(server: Server, url: str) -> None:
    async def main() -> None:
        engine = create_async_engine(url)
        with frozen(server) as thawed:
            for _ in range(3):
                health = await check_db_health_async(engine, timeout_seconds=0.2)
                assert (health.reachable, health.problems) == (False, PROBLEM)
            assert len(asyncio.all_tasks()) == 2
            assert not thawed.is_set()
        assert (await check_db_health_async(engine)).ok
        await engine.dispose()

    asyncio.run(main())


def test_the_command_exits_despite_a_frozen_server(server: Server, url: str) -> None:
    with frozen(server) as thawed:
        done = subprocess.run(
            [PROGRAMS / "shortsdb", "health", "--url", url, "--timeout", "0.2"],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert not thawed.is_set()
    assert (done.returncode, done.stderr) == (1, "")
    assert PROBLEM[0] in done.stdout


PROGRAM = """\
import asyncio, sys
from shortsdb.database import check_db_health, check_db_health_async
from shortsdb.engine import create_async_engine, create_engine
kind, url = sys.argv[1:]

def sync():
    engine = create_engine(url)
    assert check_db_health(engine).ok
    print("ready", flush=True)
    input()
    print(*check_db_health(engine, timeout_seconds=0.2).problems, flush=True)

async def async_():
    engine = create_async_engine(url)
    assert (await check_db_health_async(engine)).ok
    print("ready", flush=True)
    input()
    print(*(await check_db_health_async(engine, timeout_seconds=0.2)).problems, flush=True)

if kind == "sync":
    sync()
else:
    asyncio.run(async_())
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_program_exits_despite_an_unanswered_check(server: Server, url: str, kind: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with frozen(server) as thawed:
            # psycopg itself waits 5 s for an answer to its cancellation, twice.
            output, _ = process.communicate("\n", timeout=55)
            assert not thawed.is_set()
    assert (process.returncode, output) == (0, f"{PROBLEM[0]}\n")


def test_a_server_has_a_timeout_by_default(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortsdb.health.engines, "_SERVER_TIMEOUT_SECONDS", 0.2)
    engine = create_engine(url)
    with frozen(server):
        assert check_db_health(engine).problems == PROBLEM
    assert check_db_health(engine, timeout_seconds=60).ok
    engine.dispose()


def test_a_timeout_for_sqlite(tmp_path: Path) -> None:
    engine = init_db(tmp_path / "x.db")
    assert check_db_health(engine, timeout_seconds=60).ok
    engine.dispose()
    memory = init_db(":memory:")
    assert check_db_health(memory, timeout_seconds=60).ok
    memory.dispose()


@pytest.mark.timeout(60)
def test_a_check_does_not_wait_for_another_kind_of_check(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "3600")
    pragmas = {"busy_timeout": 3_600_000, "journal_mode": None}
    engine = create_engine(deployed_file, pragmas=pragmas, poolclass=NullPool)
    kinds: list[dict[str, Any]] = [{}, {"backup": "off"}, {"thorough": False}]
    checks = [partial(check_db_health, engine, **kind) for kind in kinds]
    checks += [partial(check_file_health, deployed_file, **kind) for kind in kinds]
    checks.append(partial(check_file_health, deployed_file, read_only=True))
    with closing(sqlite3.connect(deployed_file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        threads = threading.active_count()
        for number, check in enumerate(checks, start=1):
            assert check(timeout_seconds=0.2).problems == PROBLEM
            assert threading.active_count() == threads + number
    for check in checks:
        assert check(timeout_seconds=60).reachable
    assert check_file_health(deployed_file, read_only=True, timeout_seconds=60).writable is None


def test_the_command_limits_the_time_for_a_file(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "5")
    with closing(sqlite3.connect(deployed_file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        url = ("--url", str(deployed_file))
        done = CliRunner().invoke(main, ["health", *url, "--timeout", "0.2"])
    assert done.exit_code == 1
    assert PROBLEM[0] in done.stdout
    assert check_file_health(deployed_file, timeout_seconds=60).reachable  # the first has ended


def test_the_command_checks_the_schema_that_is_named(server: Server) -> None:
    url = server.create_database().url
    for arguments, revision in (
        (["upgrade", "--schema", "one"], None),
        (["health", "--json", "--schema", "one"], HEAD),
        (["health", "--json"], None),
    ):
        done = CliRunner().invoke(main, [*arguments, "--url", url])
        if "--json" in arguments:
            assert json.loads(done.stdout)["revision"] == revision


def test_the_command_leaves_no_connection_to_a_server(server: Server) -> None:
    database = server.create_database()
    done = CliRunner().invoke(main, ["health", "--url", database.url])
    assert "reachable:    yes" in done.stdout
    server.execute(f"DROP DATABASE {database.name}")  # fails as long as somebody is connected
