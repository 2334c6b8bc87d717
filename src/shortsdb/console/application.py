"""The console as an ASGI application: its addresses, and what guards them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from shortsdb.console.changes import CHANGES
from shortsdb.console.forms import Forms
from shortsdb.console.pages import Pages
from shortsdb.console.security import LOOPBACK, SecurityHeaders, Sessions
from shortsdb.console.site import MissingFileError, Site
from shortsdb.errors import OperationRefused
from shortsdb.extras import extra

with extra("console", "starlette"):
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import ClientDisconnect
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine
    from starlette.types import ASGIApp


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

    Raises:
        OperationRefused: A name has an asterisk that does not stand for its first label.
    """
    for host in allowed_hosts:
        if host != "*" and "*" in host.removeprefix("*."):
            raise OperationRefused(
                f"the allowed host {host!r} has an asterisk; only *.NAME may have one"
            )
    site = Site(engine, Sessions(password), allow_changes=allow_changes)
    pages, forms = Pages(site), Forms(site)
    page, form = site.page, site.form
    routes = [
        Route("/", page(pages.home)),
        Route("/tables/{table}", page(pages.rows)),
        Route("/tables/{table}/row", page(pages.row)),
        Route("/export/{table}.{kind}", page(pages.export)),
        Route("/login", page(forms.show_login, public=True)),
        Route("/login", form(forms.log_in, public=True), methods=["POST"]),
        Route("/logout", form(forms.log_out), methods=["POST"]),
        Mount("/static", StaticFiles(packages=[("shortsdb.console", "static")])),
    ]
    if allow_changes:
        for name in CHANGES:
            routes += [
                Route(f"/changes/{name}", page(forms.show_change)),
                Route(f"/changes/{name}", form(forms.change), methods=["POST"]),
            ]
    # An address of IPv6 stands in brackets in a Host header.
    hosts = [f"[{host}]" if ":" in host else host for host in (*LOOPBACK, *allowed_hosts)]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
        exception_handlers={
            HTTPException: site.refused,
            SQLAlchemyError: site.failed,
            MissingFileError: site.failed,
            ClientDisconnect: site.cut_off,
            Exception: site.broken,
        },
    )
    return SecurityHeaders(app)
