"""The health pages and the command say the same: the age of the last backup, HEAD, and metrics."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from asgi import ask
from click.testing import CliRunner
from fastapi import FastAPI
from inspect_sqlite import execute
from project import HEAD
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import NullPool

from shortsdb.cli import main
from shortsdb.database import init_db
from shortsdb.engine import create_async_engine, create_engine
from shortsdb.sqlite.backup import make_backup
from shortsdb.web import health_router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine


class Client:
    """Asks an application."""

    def __init__(self, app: FastAPI) -> None:
        """Ask `app`."""
        self.app = app

    def get(self, path: str) -> httpx.Response:
        """Return the answer to GET."""
        return ask(self.app, path)[0]

    def head(self, path: str) -> httpx.Response:
        """Return the answer to HEAD."""
        return ask(self.app, path, method="HEAD")[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file at head."""
    path = tmp_path / "d.db"
    init_db(path).dispose()
    return path


@pytest.fixture
def client(path: Path) -> Iterator[Client]:
    """Return a client of the pages of the file."""
    engine = create_engine(path)
    app = FastAPI()
    app.include_router(health_router(engine, max_backup_age_hours=26, metrics=True))
    yield Client(app)
    engine.dispose()


def test_the_page_has_the_fields_of_the_command(path: Path, client: Client) -> None:
    found = json.loads(CliRunner().invoke(main, ["health", "--json", "--url", str(path)]).output)
    assert client.get("/health/db").json().keys() == found.keys()


def test_every_page_answers_head_and_health_is_ready(client: Client) -> None:
    assert client.get("/health").json() == {"status": "ready"}
    for page in ("", "/live", "/ready", "/metrics"):
        assert client.head(f"/health{page}").status_code == 200
    assert client.head("/health/db").status_code == 503  # there is no backup
    described = client.get("/openapi.json").json()["paths"]
    assert described.keys() == {f"/health/{page}" for page in ("live", "ready", "db", "metrics")}
    assert all(page["get"]["responses"].keys() == {"200", "503"} for page in described.values())


def test_an_old_backup_is_a_problem(path: Path, client: Client) -> None:
    command = ["health", "--max-backup-age", "26", "--json", "--url", str(path)]

    def problems() -> list[list[str]]:
        found = [client.get("/health/db").json()]
        found.append(json.loads(CliRunner().invoke(main, command).output))
        assert client.get("/health/ready").status_code == 200
        return [one["problems"] for one in found]

    assert problems() == [["there is no backup of the last 26 h"]] * 2
    backup = make_backup(path, HEAD, path.parent / "backups")
    assert problems() == [[], []]
    made = datetime.now(UTC) - timedelta(hours=27)
    backup.rename(backup.with_name(f"d.{HEAD}-manual.{made:%Y%m%dT%H%M%S%fZ}.db"))
    assert problems() == [["there is no backup of the last 26 h: the newest is 27.0 h old"]] * 2


def test_an_age_of_backups_is_not_for_servers() -> None:
    engine = create_engine("postgresql+psycopg://localhost/d")
    for hours in (0, 1):
        with pytest.raises(ValueError, match="is for SQLite files"):
            health_router(engine, max_backup_age_hours=hours)
    command = ["health", "--max-backup-age", "1", "--url", "postgresql+psycopg://localhost/d"]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2
    assert "a server has backups of its own" in refused.output


def test_metrics(path: Path, client: Client) -> None:
    make_backup(path, HEAD, path.parent / "backups")

    def metrics() -> dict[str, float]:
        page = client.get("/health/metrics")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/plain")
        return {
            sample.name + "".join(sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(page.text)
            for sample in family.samples
        }

    found = metrics()
    assert found[f"shortsdb_revision_info{HEAD}{HEAD}"] == 1
    assert found["shortsdb_reachable"] == found["shortsdb_writable"] == 1
    assert found["shortsdb_problems"] == found["shortsdb_pending_revisions"] == 0
    assert found["shortsdb_size_bytes"] == path.stat().st_size
    assert 0 <= found["shortsdb_last_backup_age_seconds"] < 3600
    assert found["shortsdb_latency_seconds"] > 0
    execute(path, f"UPDATE alembic_version SET version_num = '{int(HEAD) - 1:04}'")
    assert metrics()["shortsdb_pending_revisions"] == 1
    path.with_name("moved.db").hardlink_to(path)
    path.unlink()
    gone = metrics()
    assert (gone["shortsdb_reachable"], gone["shortsdb_problems"]) == (0, 1)
    assert "shortsdb_size_bytes" not in gone
    assert gone[f"shortsdb_revision_info{HEAD}"] == 1  # of no revision


def test_there_are_no_metrics_unless_they_are_asked_for(path: Path) -> None:
    engine = create_engine(path)
    app = FastAPI()
    app.include_router(health_router(engine))
    assert Client(app).get("/health/metrics").status_code == 404
    engine.dispose()


@pytest.mark.parametrize("create", [create_engine, create_async_engine])
def test_a_page_does_not_read_every_row(
    path: Path, create: Callable[..., Engine | AsyncEngine]
) -> None:
    execute(path, "INSERT INTO shorts (pipeline_run_id) VALUES (777)")  # found by a thorough check
    app = FastAPI()
    app.include_router(health_router(create(path, poolclass=NullPool)))
    assert Client(app).get("/health/db").json()["problems"] == []
