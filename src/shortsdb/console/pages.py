"""The pages that show rows: the first page, lists, rows and exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from shortsdb.console.export import EXPORTS, ExportCutOffError
from shortsdb.console.lists import ListQuery, read_page, read_row
from shortsdb.console.overview import SHOWN, read_overview
from shortsdb.console.run_page import read_run_page, spoken
from shortsdb.console.site import MissingFileError
from shortsdb.console.tables import views
from shortsdb.extras import extra
from shortsdb.models.types import utcnow

with extra("console", "starlette"):
    from starlette.exceptions import HTTPException
    from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from shortsdb.console.site import Site
    from shortsdb.console.tables import View


@dataclass(frozen=True)
class Pages:
    """The pages of a site."""

    site: Site

    def home(self, request: Request) -> Response:
        """Return the first page."""
        health = self.site.health()
        if not health.reachable:
            return self.site.unavailable(request, health)
        overview = None
        if health.known and not health.pending:
            with self.site.reading() as session:
                overview = read_overview(session, utcnow())
        return self.site.render(request, "home.html", health=health, overview=overview, shown=SHOWN)

    def rows(self, request: Request) -> Response:
        """Return a page of a list."""
        query = ListQuery.parse(_view(request), request.query_params)
        with self.site.reading() as session:
            page = read_page(session, query)
        return self.site.render(request, "list.html", query=query, page=page)

    def row(self, request: Request) -> Response:
        """Return the page of a row, with the rows that refer to it."""
        view, key = _view(request), request.query_params.get("key", "")
        with self.site.reading() as session:
            row = read_row(session, view, key)
            children = [
                read_page(
                    session,
                    ListQuery.parse(views()[name], {column: key, "sort": "id"}),
                    views()[name].fields.get("rank_position"),
                )
                for name, column in view.children
            ]
            run = read_run_page(session, row) if view.name == "pipeline_runs" else None
            return self.site.render(
                request,
                "row.html",
                view=view,
                row=row,
                children=children,
                run=run,
                spoken=spoken,
            )

    def export(self, request: Request) -> Response:
        """Return all rows of a list as a file."""
        if request.path_params["kind"] not in EXPORTS:
            raise HTTPException(404)
        export = EXPORTS[request.path_params["kind"]]
        query = ListQuery.parse(_view(request), request.query_params)
        with self.site.reading() as session:  # fail before the answer begins
            session.execute(query.select(query.view.key.column, rows=0))
        name = f"{query.view.name}{export.suffix}"
        return StreamingResponse(
            self._until_error(request, export.lines(self.site.reading, query)),
            media_type=export.media_type,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def _until_error(self, request: Request, lines: Iterator[str]) -> Iterator[str]:
        try:
            yield from lines
        except (SQLAlchemyError, MissingFileError) as error:
            self.site.log_failure(request, error)
            # The server logs the traceback of what ends the connection, so this one has no values.
            raise ExportCutOffError from None


def _view(request: Request) -> View:
    name = request.path_params["table"]
    if name not in views():
        raise HTTPException(404, f"there is no table {name}")
    return views()[name]
