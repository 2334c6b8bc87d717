"""For FastAPI applications (extra: web): health routes, sessions and error handlers.

    engine = create_engine()
    app = FastAPI(lifespan=lifespan(engine))
    app.include_router(health_router(engine))
    add_error_handlers(app)
    Writing = Annotated[Session, session_dependency(engine)]

All functions take sync and async engines of `shortsdb.engine`, except the session dependencies,
which are `session_dependency` for sync and `async_session_dependency` for async engines.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    TimeoutError,  # noqa: A004 - the pool's; the built-in one is not used here
)
from sqlalchemy.orm.exc import StaleDataError

from shortsdb.database import check_db_health_async
from shortsdb.engine import OutcomeUnknownError, async_session_factory, session_factory
from shortsdb.extras import extra
from shortsdb.health import Health, check_db_health
from shortsdb.health.report import unanswered
from shortsdb.log import get_logger
from shortsdb.printable import one_line

with extra("web", "fastapi"):
    from fastapi import APIRouter, Depends, FastAPI, Request
    from fastapi.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

log = get_logger(__name__)

_Function = TypeVar("_Function", bound="Callable[..., Any]")

# Errors of the application or of its input, not of the database.
_FAULTS = (IntegrityError, DataError, ProgrammingError, NotSupportedError)


class UnknownSchemaError(RuntimeError):
    """The database is at a revision that this release does not know."""


def health_router(
    engine: Engine | AsyncEngine,
    *,
    timeout_seconds: float = 5.0,
    max_backup_age_hours: float | None = None,
    metrics: bool = False,
) -> APIRouter:
    """Return the routes /health/live, /health/ready and /health/db, for GET and HEAD.

    /health/live always returns 200, whatever the state of the database.

    /health/ready returns 200 if the database is readable, writable and at head, otherwise 503. The
    body says why: `reason` is "unreachable", "pending" (with the list `pending` of revisions),
    "unknown revision" (with `revision`, which is null for a file whose tables are not ours) or
    "read-only". A read-only engine, such as `engine.execution_options(**READ_ONLY_OPTIONS)`, is
    also ready on a standby. /health is the same page.

    /health/db returns what `shortsdb health --json` prints, without paths, hosts and SQL;
    `last_backup` is a file name. The status is 200 if there are no problems, otherwise 503.

    /health/metrics returns the same as metrics in Prometheus' text format (extra: metrics).

    Args:
        engine: The application's own engine, so that the checks see what its requests see.
        timeout_seconds: After this time a database counts as unreachable.
        max_backup_age_hours: For a SQLite file, an older last backup is a problem of /health/db.
        metrics: Whether there is /health/metrics.

    Raises:
        ValueError: `max_backup_age_hours` is given for a server, whose backups are not ours.
    """
    if max_backup_age_hours is not None and engine.dialect.name != "sqlite":
        raise ValueError(
            "max_backup_age_hours is for SQLite files; a server has backups of its own"
        )
    router = APIRouter(prefix="/health", tags=["health"])
    checks = _Checks(engine, timeout_seconds)
    page = partial(_page, router)

    @page("/live", "Is the process alive?")
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @page("/ready", "May requests come?", "")
    async def ready() -> JSONResponse:
        why_not = _why_not_ready(await checks.health())
        if why_not is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", **why_not}, status_code=503)

    @page("/db", "How is the database?")
    async def database() -> JSONResponse:
        health = (await checks.health()).limit_backup_age(max_backup_age_hours)
        return JSONResponse(health.fields(), status_code=200 if health.ok else 503)

    if metrics:
        from shortsdb.metrics import CONTENT_TYPE, prometheus  # noqa: PLC0415 - an extra of its own

        @page("/metrics", "How is the database, for Prometheus?")
        async def measured() -> Response:
            health = (await checks.health()).limit_backup_age(max_backup_age_hours)
            return Response(prometheus(health), media_type=CONTENT_TYPE)

    return router


def _page(
    router: APIRouter, path: str, summary: str, *others: str
) -> Callable[[_Function], _Function]:
    """Register a function for GET of a path; for HEAD and other paths without describing them."""

    def register(function: _Function) -> _Function:
        answers: dict[int | str, dict[str, Any]] = {503: {"description": "No"}}
        router.get(path, summary=summary, responses=answers)(function)
        for other in others:
            router.get(other, include_in_schema=False)(function)
        for any_path in (path, *others):
            router.head(any_path, include_in_schema=False)(function)
        return function

    return register


def _why_not_ready(health: Health) -> dict[str, Any] | None:
    if not health.reachable:
        return {"reason": "unreachable"}
    if not health.known:
        return {"reason": "unknown revision", "revision": health.revision}
    if health.pending:
        return {"reason": "pending", "pending": health.pending}
    if health.writable is False:
        return {"reason": "read-only"}
    return None


class _Checks:
    """Runs one health check at a time, whose result all concurrent requests share.

    So probes of a hanging database do not pile up and use up the threads of requests.
    """

    def __init__(self, engine: Engine | AsyncEngine, timeout_seconds: float) -> None:
        self.engine = engine
        self.timeout_seconds = timeout_seconds
        self._running: asyncio.Task[Health] | None = None

    async def health(self) -> Health:
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(_check(self.engine, self.timeout_seconds))
        done, _ = await asyncio.wait({self._running}, timeout=self.timeout_seconds)
        if not done:
            return unanswered(self.timeout_seconds)
        health = self._running.result()
        if health.error:
            log.warning("the database cannot be read: %s", one_line(health.error))
        return health


async def _check(engine: Engine | AsyncEngine, timeout_seconds: float) -> Health:
    if isinstance(engine, Engine):
        return await asyncio.to_thread(
            check_db_health, engine, thorough=False, timeout_seconds=timeout_seconds
        )
    return await check_db_health_async(engine, thorough=False, timeout_seconds=timeout_seconds)


def add_error_handlers(app: FastAPI) -> None:
    """Add handlers that turn errors of the database into responses.

    503 with Retry-After: the database is unreachable, locked, full or damaged. The body only says
    that it is not available; the log has the driver's message.

    503 without Retry-After: the connection was lost during COMMIT (`OutcomeUnknownError`). The body
    says that the outcome is unknown, because a client that repeats the request may write everything
    twice.

    409: the change is based on data that another transaction has changed since (`StaleRowError`).

    Errors of the application remain 500: a violated constraint, a value that does not fit, bad SQL.
    """
    app.add_exception_handler(DBAPIError, _unavailable)
    app.add_exception_handler(TimeoutError, _unavailable)
    app.add_exception_handler(StaleDataError, _conflict)
    app.add_exception_handler(OutcomeUnknownError, _outcome_unknown)


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, _FAULTS):
        raise error
    cause = getattr(error, "orig", None) or error
    log.error("%s %s: the database failed: %s", request.method, request.url.path, one_line(cause))
    return JSONResponse(
        {"detail": "the database is not available"}, status_code=503, headers={"Retry-After": "5"}
    )


async def _conflict(request: Request, error: Exception) -> JSONResponse:
    log.warning("%s %s: %s", request.method, request.url.path, one_line(error))
    return JSONResponse(
        {"detail": "the data has changed since it was read: read it again"}, status_code=409
    )


async def _outcome_unknown(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s: %s", request.method, request.url.path, one_line(error))
    return JSONResponse(
        {
            "detail": "the connection to the database was lost during the commit: it is unknown "
            "whether the change was made. Check before you repeat it"
        },
        status_code=503,
    )


def lifespan(
    engine: Engine | AsyncEngine, *, timeout_seconds: float = 5.0
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return a lifespan that starts only on a known schema, and closes the connections at the end.

    An application also starts if revisions are pending or the database is unreachable;
    /health/ready reports it.

    Args:
        engine: The application's engine.
        timeout_seconds: After this time a database counts as unreachable.

    Raises:
        UnknownSchemaError: On start, the database is at a revision that this release does not know.
    """

    @asynccontextmanager
    async def run(_app: FastAPI) -> AsyncIterator[None]:
        health = await _Checks(engine, timeout_seconds).health()
        if not health.known and health.revision is None:
            raise UnknownSchemaError(
                "the database has no version, and its tables are those of no revision that this "
                "release knows: check that it is the right file (shortsdb status says what differs)"
            )
        if not health.known:
            raise UnknownSchemaError(
                f"the database is at revision {health.revision}, and this release knows none after "
                f"{health.head}: deploy the newer release, or restore the backup that was made "
                "before it"
            )
        try:
            yield
        finally:
            if isinstance(engine, Engine):
                engine.dispose()
            else:
                await engine.dispose()

    return run


def session_dependency(engine: Engine, *, read_only: bool = False) -> Any:  # noqa: ANN401 - Depends()'s own
    """Return a dependency that gives each request its own session.

    It commits after the path operation has returned and before the response is sent, so that no
    response reports a change that was not committed. Any exception rolls back, HTTPException too.
    The session is closed before a streaming response is generated.

    A session that may write is in an explicit transaction: it takes the write lock before its first
    statement, so rows that it reads cannot change until its commit, and there are no conflicts. Use
    `read_only` for requests that only read, and do not call other services while a session that may
    write is open.

    Args:
        engine: The application's engine.
        read_only: Whether the sessions cannot write, and do not wait for writers.
    """
    factory = session_factory(engine, read_only=read_only)

    def session() -> Iterator[Session]:
        with factory.begin() as session:
            yield session

    return Depends(session, scope="function")


def async_session_dependency(engine: AsyncEngine, *, read_only: bool = False) -> Any:  # noqa: ANN401 - as above
    """Return a dependency that gives each request an async session; see `session_dependency`."""
    factory = async_session_factory(engine, read_only=read_only)

    async def session() -> AsyncIterator[AsyncSession]:
        async with factory.begin() as session:
            yield session

    return Depends(session, scope="function")
