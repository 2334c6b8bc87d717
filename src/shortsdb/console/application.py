"""The console as an ASGI application: its pages, and what they say if the database fails."""

from __future__ import annotations

import getpass
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from shortsdb.console.changes import CHANGES
from shortsdb.console.export import csv_lines, json_lines
from shortsdb.console.lists import PAGE_ROWS, ListQuery, read_page, read_row
from shortsdb.console.overview import SHOWN, read_overview
from shortsdb.console.pages import render
from shortsdb.console.run_page import read_run, spoken, timeline
from shortsdb.console.security import LOOPBACK, SecurityHeaders, Sessions
from shortsdb.console.tables import views
from shortsdb.engine import session_factory
from shortsdb.extras import extra
from shortsdb.health import check_db_health
from shortsdb.log import correlation_id, get_logger, operation
from shortsdb.models.types import utcnow
from shortsdb.printable import one_line
from shortsdb.target import Target

with extra("console", "starlette"):
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import RedirectResponse, Response, StreamingResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from shortsdb.console.changes import Change
    from shortsdb.console.tables import View
    from shortsdb.health import Health

log = get_logger(__name__)

_HEALTH_SECONDS = 5.0
_SERVER_LIMITS = "SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '2s'"


def create_app(
    engine: Engine,
    *,
    allow_changes: bool = False,
    password: str | None = None,
    allowed_hosts: Sequence[str] = (),
) -> ASGIApp:
    """Return the console on a database, to be served or mounted.

    Args:
        engine: An engine of `shortsdb.engine.create_engine`.
        allow_changes: Whether errors can be marked as resolved, and config overrides be set and
            deleted.
        password: What a login needs; None for no login.
        allowed_hosts: The names by which browsers may ask, besides those of this machine for
            itself. Requests for other names are refused, because a page elsewhere can make its own
            name mean this machine (DNS rebinding).
    """
    console = _Console(engine, allow_changes=allow_changes, sessions=Sessions(password))
    page, form = console.page, console.form
    app = Starlette(
        routes=[
            Route("/", page(console.home)),
            Route("/tables/{table}", page(console.list)),
            Route("/tables/{table}/row", page(console.row)),
            Route("/export/{table}.{kind}", page(console.export)),
            Route("/login", page(console.show_login, public=True)),
            Route("/login", form(console.log_in, public=True), methods=["POST"]),
            Route("/logout", form(console.log_out), methods=["POST"]),
            Mount("/static", StaticFiles(packages=[("shortsdb.console", "static")])),
            *(
                route
                for what in (CHANGES if allow_changes else ())
                for route in (
                    Route(f"/changes/{what}", page(console.show_change)),
                    Route(f"/changes/{what}", form(console.change), methods=["POST"]),
                )
            ),
        ],
        middleware=[
            Middleware(
                TrustedHostMiddleware,
                # An address of IPv6 stands in brackets in a Host header.
                allowed_hosts=[
                    f"[{host}]" if ":" in host else host for host in (*LOOPBACK, *allowed_hosts)
                ],
                www_redirect=False,
            )
        ],
        exception_handlers={
            HTTPException: console.refused,
            SQLAlchemyError: console.unavailable,
            _MissingFileError: console.unavailable,
            Exception: console.broken,
        },
    )
    return SecurityHeaders(app)


class _MissingFileError(Exception):
    """The SQLite file does not exist; opening it would create an empty one."""


class _Console:
    """The pages of one database."""

    def __init__(self, engine: Engine, *, allow_changes: bool, sessions: Sessions) -> None:
        self.engine = engine
        self.target = Target.of(engine.url)
        self.allow_changes = allow_changes
        self.sessions = sessions
        self._read_only = session_factory(engine, read_only=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a read-only session; on a server its statements end after some seconds."""
        if self.target.file is not None and not self.target.file.exists():
            raise _MissingFileError
        with self._read_only() as session:
            if self.engine.dialect.name != "sqlite":
                session.execute(text(_SERVER_LIMITS))
            yield session

    def health(self) -> Health:
        return check_db_health(self.engine, thorough=False, timeout_seconds=_HEALTH_SECONDS)

    def page(
        self, show: Callable[[Request], Response], *, public: bool = False
    ) -> Callable[[Request], Response]:
        """Return the endpoint of a page, which is called in a thread of its own."""

        def endpoint(request: Request) -> Response:
            with operation():
                self.sessions.load(request)
                _refuse_nul(request.query_params)
                if not public and not self.sessions.is_known(request):
                    return self._redirect(request, "/login")
                response = show(request)
            self.sessions.save(request, response)
            return response

        return endpoint

    def form(
        self, handle: Callable[[Request, Any], Response], *, public: bool = False
    ) -> Callable[[Request], Any]:
        """Return the endpoint of a form, which refuses those of other pages and browsers."""

        async def endpoint(request: Request) -> Response:
            async with request.form(max_files=0, max_fields=20) as form:
                with operation():
                    self.sessions.load(request)
                    self.sessions.refuse_foreign_form(request, form)
                    _refuse_nul(form)
                    if not public and not self.sessions.is_known(request):
                        return self._redirect(request, "/login")
                    response = await run_in_threadpool(handle, request, form)
            self.sessions.save(request, response)
            return response

        return endpoint

    def home(self, request: Request) -> Response:
        health = self.health()
        if not health.reachable:
            return self._unavailable(request, health, "")
        if health.pending or not health.known:
            return self.render(request, "home.html", health=health, overview=None)
        with self.reading() as session:
            overview = read_overview(session, utcnow())
            return self.render(request, "home.html", health=health, overview=overview, shown=SHOWN)

    def list(self, request: Request) -> Response:
        query = ListQuery.parse(self._view(request), request.query_params)
        with self.reading() as session:
            return self.render(request, "list.html", query=query, page=read_page(session, query))

    def row(self, request: Request) -> Response:
        view = self._view(request)
        key = request.query_params.get("key", "")
        with self.reading() as session:
            return self.render(
                request,
                "row.html",
                view=view,
                row=read_row(session, view, key),
                children=[
                    read_page(
                        session,
                        ListQuery.parse(views()[name], {column: key, "sort": "id"}),
                        views()[name].fields.get("rank_position"),
                    )
                    for name, column in view.children
                ],
                run=read_run(session, int(key)) if view.name == "pipeline_runs" else None,
                timeline=timeline,
                spoken=spoken,
            )

    def export(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in {"csv", "json"}:
            raise HTTPException(404)
        query = ListQuery.parse(self._view(request), request.query_params)
        with self.reading() as session:  # fail before the answer begins
            session.execute(query.select(query.view.key.column, rows=0))
        lines = {"csv": csv_lines, "json": json_lines}[kind](self.reading, query)
        return StreamingResponse(
            lines,
            media_type={"csv": "text/csv", "json": "application/json"}[kind],
            headers={"Content-Disposition": f'attachment; filename="{query.view.name}.{kind}"'},
        )

    def show_login(self, request: Request) -> Response:
        return self.render(request, "login.html", failed=False)

    def log_in(self, request: Request, form: Any) -> Response:  # noqa: ANN401 - form values
        name = str(form.get("name", "")).strip()
        if name and self.sessions.log_in(request, name, str(form.get("password", ""))):
            log.info("console: %r logged in", name)
            return self._redirect(request, "/")
        log.warning("console: a login of %r failed", name)
        return self.render(request, "login.html", status=403, failed=True)

    def log_out(self, request: Request, _form: Any) -> Response:  # noqa: ANN401 - as above
        self.sessions.begin(request, None)
        return self._redirect(request, "/login")

    def show_change(self, request: Request) -> Response:
        return self._ask(request, request.query_params)

    def change(self, request: Request, form: Any) -> Response:  # noqa: ANN401 - as above
        if form.get("confirmed") != "yes":
            return self._ask(request, form)
        change = _change(request)
        who = request.state.session["user"] or getpass.getuser()
        values = change.make(self.engine, form, who)
        log.info("console: %r: %s %r", who, change.name, values[change.fields[0]])
        return self._redirect(request, change.address(values))

    def _ask(self, request: Request, given: Mapping[str, Any]) -> Response:
        """Show what a change would do, and ask; or ask for the values that are not given yet."""
        change = _change(request)
        values = {name: str(given[name]) for name in change.fields if name in given}
        view, key = views()[change.table], values.get(change.fields[0])
        with self.reading() as session:
            row = None
            with suppress(HTTPException) if change.adds_rows else nullcontext():
                row = read_row(session, view, key or "")
            return self.render(
                request, "change.html", change=change, view=view, row=row, values=values
            )

    def refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
        return self.render(
            request, "error.html", status=error.status_code, title="Not possible", text=error.detail
        )

    def broken(self, request: Request, _error: Exception) -> Response:
        """Answer after an error of the console itself; the server logs it."""
        return self.render(
            request,
            "error.html",
            status=500,
            title="This should not happen",
            text="The log of the console says what went wrong; please report it.",
        )

    def unavailable(self, request: Request, error: Exception) -> Response:
        reason = ""
        if not isinstance(error, _MissingFileError):
            reason = f"{self.target.name}: {one_line(getattr(error, 'orig', None) or error)}"
        with operation():
            if reason:
                log.error("console: %s: %s", request.url.path, reason)
            return self._unavailable(request, self.health(), reason)

    def _unavailable(self, request: Request, health: Health, reason: str) -> Response:
        return self.render(request, "unavailable.html", status=503, health=health, reason=reason)

    def render(
        self, request: Request, template: str, *, status: int = 200, **values: object
    ) -> Response:
        if not hasattr(request.state, "session"):
            self.sessions.load(request)
        return render(
            request,
            template,
            status,
            {
                "database": self.target.name,
                "allow_changes": self.allow_changes,
                "session": request.state.session,
                "known": self.sessions.is_known(request),
                "token": self.sessions.token(request),
                "views": views(),
                "correlation_id": correlation_id(),
                "page_rows": PAGE_ROWS,
                **values,
            },
        )

    @staticmethod
    def _redirect(request: Request, path: str) -> Response:
        return RedirectResponse(request.scope.get("root_path", "") + path, status_code=303)

    @staticmethod
    def _view(request: Request) -> View:
        name = request.path_params["table"]
        if name not in views():
            raise HTTPException(404, f"there is no table {name}")
        return views()[name]


def _change(request: Request) -> Change:
    return CHANGES[request.url.path.rpartition("/")[2]]


def _refuse_nul(parameters: Mapping[str, Any]) -> None:
    if any("\0" in str(value) for value in parameters.values()):
        raise HTTPException(400, "a value contains a NUL, which no database can hold")
