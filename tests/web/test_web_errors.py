"""Which failures are answered with 503, with which headers, and which remain errors."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from asgi import ask
from fastapi import FastAPI
from postgresql_server import Server
from sqlalchemy import NullPool, text
from web_application import application

from shortsdb.database import init_db
from shortsdb.engine import (
    READ_ONLY_OPTIONS,
    OutcomeUnknownError,
    StaleRow,
    StaleRowError,
    create_async_engine,
    create_engine,
)
from shortsdb.printable import one_line
from shortsdb.web import add_error_handlers, lifespan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

UNAVAILABLE = {"detail": "the database is not available"}


def assert_unavailable(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()) == (503, UNAVAILABLE)
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["Content-Type"] == "application/json"


def test_a_full_pool(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    init_db(tmp_path / "x.db").dispose()
    engine = create_engine(tmp_path / "x.db", pool_size=1, max_overflow=0, pool_timeout=0.01)
    app = application(engine)
    with engine.connect():
        (answer,) = ask(app, "/errors")
        assert_unavailable(answer)
        (written,) = ask(app, "/errors/one", method="POST")
        assert_unavailable(written)
    assert "GET /errors: the database failed: QueuePool limit of size 1" in caplog.text
    assert "POST /errors/one: the database failed: QueuePool limit" in caplog.text
    assert ask(app, "/errors")[0].json() == 0
    engine.dispose()


def test_a_full_pool_of_an_async_engine(tmp_path: Path) -> None:
    init_db(tmp_path / "x.db").dispose()
    engine = create_async_engine(tmp_path / "x.db", pool_size=1, max_overflow=0, pool_timeout=0.01)
    app = application(engine)

    async def hold() -> httpx.Response:
        async with engine.connect():
            return (await asyncio.to_thread(ask, app, "/errors"))[0]

    assert_unavailable(asyncio.run(hold()))


def test_a_locked_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = init_db(tmp_path / "x.db")
    engine.dispose()
    impatient = create_engine(tmp_path / "x.db", pragmas={"busy_timeout": 1})
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
        assert_unavailable(ask(application(impatient), "/errors/one", method="POST")[0])
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in records] == [
        "POST /errors/one: the database failed: database is locked"
    ]
    impatient.dispose()
    engine.dispose()


@pytest.mark.parametrize("create", [create_engine, create_async_engine])
def test_a_request_that_only_reads_does_not_wait_for_a_writer(
    tmp_path: Path, create: Callable[..., Engine | AsyncEngine]
) -> None:
    init_db(tmp_path / "x.db").dispose()
    app = application(create(tmp_path / "x.db", pragmas={"busy_timeout": 1}, poolclass=NullPool))
    assert ask(app, "/errors")[0].json() == 0  # in WAL mode from now on
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert ask(app, "/errors")[0].json() == 0
        assert_unavailable(ask(app, "/errors/one", method="POST")[0])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CAST('x' AS integer)",  # DataError
        "SELECT * FROM nowhere",  # ProgrammingError
        "INSERT INTO shorts (pipeline_run_id) VALUES (777)",  # IntegrityError
        "DECLARE c CURSOR FOR SELECT 1 FOR UPDATE OF nothing",  # ProgrammingError
    ],
)
def test_application_errors_are_not_answered_with_503(postgres: Server, sql: str) -> None:
    database = postgres.create_database()
    init_db(database.url).dispose()
    engine = create_engine(database.url)
    (answer,) = ask(application(engine), f"/bad-sql/{sql}", method="POST")
    assert answer.status_code == 500
    assert sql.split()[1] not in answer.text
    engine.dispose()


@pytest.mark.parametrize(
    ("error", "status", "detail", "level"),
    [
        (
            StaleRowError([StaleRow("clips", (1,), ("title",), gone=False)]),
            409,
            "the data has changed since it was read: read it again",
            "WARNING",
        ),
        (
            OutcomeUnknownError("the connection to s3cret was lost\n"),
            503,
            (
                "the connection to the database was lost during the commit: it is unknown whether "
                "the change was made. Check before you repeat it"
            ),
            "ERROR",
        ),
    ],
)
def test_what_must_not_be_repeated_blindly_has_no_retry_after(
    caplog: pytest.LogCaptureFixture, error: Exception, status: int, detail: str, level: str
) -> None:
    app = FastAPI()
    add_error_handlers(app)

    @app.post("/change")
    def change() -> None:
        raise error

    (answer,) = ask(app, "/change", method="POST")
    assert (answer.status_code, answer.json()) == (status, {"detail": detail})
    assert "Retry-After" not in answer.headers
    (record,) = [record for record in caplog.records if record.name == "shortsdb.web"]
    assert (record.levelname, record.getMessage()) == (level, f"POST /change: {one_line(error)}")


def test_a_database_that_cannot_be_written_is_not_ready(postgres: Server) -> None:
    database = postgres.create_database()
    init_db(database.url).dispose()
    engine = create_engine(database.url)
    pages = ("/health/ready", "/health/db", "/health/live")
    assert [page.status_code for page in ask(application(engine), *pages)] == [200, 200, 200]
    engine.dispose()
    postgres.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    ready, found, live = ask(application(engine), *pages)
    assert (ready.status_code, ready.json()) == (
        503,
        {"status": "not ready", "reason": "read-only"},
    )
    assert (found.status_code, found.json()["writable"]) == (503, False)
    assert live.status_code == 200
    reading = engine.execution_options(**READ_ONLY_OPTIONS)
    assert [page.status_code for page in ask(application(reading), *pages)] == [200, 200, 200]
    engine.dispose()


def test_a_standby_is_not_ready() -> None:
    with Server() as server:
        primary = server.create_database()
        init_db(primary.url).dispose()
        with Server(primary=server) as replica:
            url = f"{replica.url(primary.name)}".replace("postgresql:", "postgresql+psycopg:")

            async def pages() -> list[int]:
                engine = create_async_engine(url)
                found = await asyncio.to_thread(ask, application(engine), "/health/ready")
                await engine.dispose()
                return [page.status_code for page in found]

            assert asyncio.run(pages()) == [503]
            replica.promote()
            assert asyncio.run(pages()) == [200]


@pytest.mark.parametrize("create", [create_engine, create_async_engine])
def test_the_connections_are_closed_at_the_end(
    tmp_path: Path, create: Callable[[Path], Engine | AsyncEngine]
) -> None:
    init_db(tmp_path / "x.db").dispose()
    engine = create(tmp_path / "x.db")

    async def run() -> None:
        async with lifespan(engine)(FastAPI()):
            pool = engine.pool
        assert engine.pool is not pool  # dispose() puts a new one in its place

    asyncio.run(run())
