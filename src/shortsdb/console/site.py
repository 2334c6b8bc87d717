"""What all pages of the console share: the database, the reader's session, and errors."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from shortsdb.console.rendering import render
from shortsdb.console.tables import views
from shortsdb.database import get_session
from shortsdb.engine import session_factory
from shortsdb.extras import extra
from shortsdb.health import check_db_health
from shortsdb.log import correlation_id, get_logger, operation
from shortsdb.printable import one_line
from shortsdb.target import Target

with extra("console", "starlette"):
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.responses import RedirectResponse, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session
    from starlette.requests import Request

    from shortsdb.console.security import Sessions
    from shortsdb.health import Health

log = get_logger(__name__)

_HEALTH_SECONDS = 5.0
_READING_SECONDS = 10
_LOCK_SECONDS = 2
_STEPS = 100_000  # of SQLite's virtual machine: some milliseconds


class MissingFileError(Exception):
    """The SQLite file does not exist; opening it would create an empty one."""


class Site:
    """A database, and who reads it.

    Attributes:
        engine: The engine.
        sessions: Who the readers are.
        allow_changes: Whether there are forms that change rows.
        target: The database, for its name.
    """

    def __init__(self, engine: Engine, sessions: Sessions, *, allow_changes: bool) -> None:
        """Set the attributes."""
        self.engine = engine
        self.sessions = sessions
        self.allow_changes = allow_changes
        self.target = Target.of(engine.url)
        self._read_only = session_factory(engine, read_only=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a read-only session whose statements end after some seconds.

        Text that is not UTF-8, which SQLite may hold, is read with its invalid bytes escaped.

        Raises:
            MissingFileError: The SQLite file does not exist.
        """
        self._refuse_missing_file()
        with self._read_only() as session:
            if self.engine.dialect.name == "sqlite":
                driver: Any = session.connection().connection.driver_connection
                end = time.monotonic() + _READING_SECONDS
                driver.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
                driver.text_factory = lambda stored: stored.decode("utf-8", "backslashreplace")
                try:
                    yield session
                finally:
                    driver.set_progress_handler(None, 0)
                    driver.text_factory = str
            else:
                session.execute(text(f"SET LOCAL statement_timeout = '{_READING_SECONDS}s'"))
                session.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
                yield session

    def writing(self) -> Session:
        """Return a session that may write.

        Raises:
            MissingFileError: The SQLite file does not exist.
        """
        self._refuse_missing_file()
        return get_session(self.engine)

    def _refuse_missing_file(self) -> None:
        if self.target.file is not None and not self.target.file.exists():
            raise MissingFileError("the file does not exist")

    def health(self) -> Health:
        """Return the health of the database, without reading all of it."""
        return check_db_health(self.engine, thorough=False, timeout_seconds=_HEALTH_SECONDS)

    def page(
        self, show: Callable[[Request], Response], *, public: bool = False
    ) -> Callable[[Request], Response]:
        """Return the endpoint of a page, which Starlette calls in a thread.

        Args:
            show: Returns the page.
            public: Whether it is there without a login.
        """

        def endpoint(request: Request) -> Response:
            with operation():
                self.sessions.load(request)
                _refuse_nul(request.query_params)
                if not public and not self.sessions.is_known(request):
                    return self.redirect(request, "/login")
                response = show(request)
            self.sessions.save(request, response)
            return response

        return endpoint

    def form(
        self, handle: Callable[[Request, Mapping[str, Any]], Response], *, public: bool = False
    ) -> Callable[[Request], Any]:
        """Return the endpoint of a form, which refuses those of other pages and browsers."""

        async def endpoint(request: Request) -> Response:
            async with request.form(max_files=0, max_fields=20) as form:
                with operation():
                    self.sessions.load(request)
                    self.sessions.refuse_foreign_form(request, str(form.get("token", "")))
                    _refuse_surrogates(form)
                    _refuse_nul(form)
                    if not public and not self.sessions.is_known(request):
                        return self.redirect(request, "/login")
                    response = await run_in_threadpool(handle, request, form)
            self.sessions.save(request, response)
            return response

        return endpoint

    def render(
        self, request: Request, template: str, *, status: int = 200, **values: object
    ) -> Response:
        """Return a page, made from a template and values."""
        if not hasattr(request.state, "session"):  # no endpoint was reached
            self.sessions.load(request)
        shared = {
            "database": self.target.name,
            "allow_changes": self.allow_changes,
            "user": request.state.user,
            "known": self.sessions.is_known(request),
            "token": self.sessions.token(request),
            "views": views(),
            "correlation_id": correlation_id(),
        }
        return render(request, template, status, {**shared, **values})

    @staticmethod
    def redirect(request: Request, path: str) -> Response:
        """Return the answer that leads to another page of the console."""
        return RedirectResponse(request.scope.get("root_path", "") + path, status_code=303)

    def refused(self, request: Request, error: Exception) -> Response:
        """Answer a request that cannot be meant, or that asks for nothing that is there."""
        assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
        return self.render(
            request, "error.html", status=error.status_code, title="Not possible", text=error.detail
        )

    @staticmethod
    def cut_off(_request: Request, _error: Exception) -> Response:
        """Answer a form that the client has not sent to its end; nobody receives the answer."""
        return Response(status_code=400)

    def broken(self, request: Request, error: Exception) -> Response:
        """Answer after an error of the console itself; the server logs its traceback next."""
        with operation():
            log.error("console: %s: %s", request.url.path, type(error).__name__)
            return self.render(
                request,
                "error.html",
                status=500,
                title="This should not happen",
                text="The log of the console says what went wrong; please report it.",
            )

    def failed(self, request: Request, error: Exception) -> Response:
        """Answer after an error of the database."""
        with operation():
            if isinstance(error, MissingFileError):
                return self.unavailable(request, self.health())
            cause = self.log_failure(request, error)
            reason = f"{self.target.name}: {cause}"
            # A missing table has a reason. For another error the check would wait once more.
            lacks_table = isinstance(error, ProgrammingError) or cause.startswith("no such ")
            return self.unavailable(request, self.health() if lacks_table else None, reason)

    def log_failure(self, request: Request, error: Exception) -> str:
        """Log an error of the database, without values of rows and of the reader; return it."""
        cause = one_line(getattr(error, "orig", None) or error)
        # sqlite3 quotes text that is not UTF-8.
        cause = cause.partition(" with text ")[0]
        log.error("console: %s: %s: %s", request.url.path, self.target.name, cause)
        return cause

    def unavailable(self, request: Request, health: Health | None, reason: str = "") -> Response:
        """Return the page that says why the database is not available."""
        return self.render(request, "unavailable.html", status=503, health=health, reason=reason)


def _refuse_nul(parameters: Mapping[str, Any]) -> None:
    if any("\0" in str(value) for value in parameters.values()):
        raise HTTPException(400, "a value contains a NUL, which no database can hold")


def _refuse_surrogates(form: Mapping[str, Any]) -> None:
    try:
        "".join(map(str, form.values())).encode()
    except UnicodeEncodeError as error:
        raise HTTPException(400, "a value contains characters that do not exist") from error
