"""A read-only web console for the operator (extra: console).

    app = FastAPI()
    app.include_router(health_router(engine))
    mount(app, engine)  # the console is at /console/

`shortsdb console` serves the same by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shortsdb.console.application import create_app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine
    from starlette.applications import Starlette

__all__ = ["create_app", "mount"]


def mount(  # noqa: PLR0913 - each is a choice of the application
    app: Starlette,
    engine: Engine,
    *,
    path: str = "/console",
    allow_changes: bool = False,
    password: str | None = None,
    allowed_hosts: Sequence[str] = (),
) -> None:
    """Add the console to an application of Starlette or FastAPI.

    Args:
        app: The application.
        engine: An engine of `shortsdb.engine.create_engine`; an application with an async engine
            makes one on the same URL.
        path: Where the console is.
        allow_changes: Whether errors can be marked as resolved, and config overrides be set and
            deleted. The log names the user that Starlette's AuthenticationMiddleware has found.
        password: What a login needs. None is for an application that listens on this machine only,
            or lets only operators reach `path`.
        allowed_hosts: The names by which browsers may ask, besides localhost, 127.0.0.1 and ::1.

    Raises:
        OperationRefused: A name has an asterisk that does not stand for its first label.
    """
    app.mount(
        path,
        create_app(
            engine, allow_changes=allow_changes, password=password, allowed_hosts=allowed_hosts
        ),
        name="shortsdb-console",
    )
