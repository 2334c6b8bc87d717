"""Run one scenario of several sessions on a sync or an async engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.util.concurrency import greenlet_spawn

from shortsdb.engine import (
    async_session_factory,
    create_async_engine,
    create_engine,
    session_factory,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])

IMPATIENT = {"busy_timeout": 1}
"""Settings with which waiting for a lock fails at once."""


@dataclass
class Sessions:
    """An engine and its session factories; sessions of an async engine expire nothing."""

    engine: Engine
    plain: Callable[[], Session]
    reader: Callable[[], Session]


def play(kind: str, url: str, scenario: Callable[[Sessions], None], **options: Any) -> None:  # noqa: ANN401 - create_engine's
    """Run a scenario, in a greenlet if the engine is async.

    Args:
        kind: "sync" or "async".
        url: The database.
        scenario: Uses the sync interface of the sessions.
        options: For `create_engine`.
    """
    if kind == "sync":
        engine = create_engine(url, **options)
        readers = session_factory(engine, read_only=True)
        try:
            scenario(Sessions(engine, session_factory(engine), readers))
        finally:
            engine.dispose()
        return

    async def main() -> None:
        engine = create_async_engine(url, **options)
        plain, reader = async_session_factory(engine), async_session_factory(engine, read_only=True)
        sessions = Sessions(
            engine.sync_engine, lambda: plain().sync_session, lambda: reader().sync_session
        )
        try:
            await greenlet_spawn(scenario, sessions)
        finally:
            await engine.dispose()

    asyncio.run(main())
