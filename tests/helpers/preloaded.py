"""Applications for `gunicorn --preload`: the engine is used before the workers are forked.

`wsgi` is for sync workers, `asgi` for workers of uvicorn. uvicorn itself imports this in every
worker, inside the event loop, where the async engine is not used yet. Both use the database in
SHORTSDB_URL; a POST to /errors/MESSAGE commits a row, a GET of /errors counts the rows.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from web_application import application

from shortsdb.engine import create_async_engine, create_engine, session_factory
from shortsdb.models import ErrorLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.ext.asyncio import AsyncEngine

COUNT = select(func.count()).select_from(ErrorLog)

engine = create_engine()
sessions = session_factory(engine)
with sessions() as used:
    used.scalar(COUNT)


async def _use(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.scalar(COUNT)


async_engine = create_async_engine()
try:
    asyncio.get_running_loop()
except RuntimeError:  # gunicorn, before it forks
    asyncio.run(_use(async_engine))
asgi = application(async_engine)


def wsgi(environment: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer a request with the number of rows, or with the process that committed one."""
    with sessions.begin() as session:
        if environment["REQUEST_METHOD"] == "POST":
            message = environment["PATH_INFO"].rpartition("/")[2]
            session.add(ErrorLog(module="web", error_type="Test", error_message=message))
        else:
            message = session.scalar(COUNT)
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Pid", str(os.getpid()))])
    return [json.dumps(message).encode()]
