"""Health checks of a page end in time, whatever hangs: the database, or the threads of others."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import NullPool

from shortsdb.engine import create_async_engine, create_engine
from shortsdb.web import _check, _Checks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

LATE = ("it has not answered within 0.1 s",)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("create", [create_engine, create_async_engine])
def test_a_database_that_hangs(
    deployed_file: Path, create: Callable[..., Engine | AsyncEngine]
) -> None:
    pragmas = {"busy_timeout": 3_600_000, "journal_mode": None}
    engine = create(deployed_file, pragmas=pragmas, poolclass=NullPool)

    async def check() -> tuple[str, ...]:
        with closing(sqlite3.connect(deployed_file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            health = await _check(engine, 0.1)
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))  # ends now
        return health.problems

    assert asyncio.run(check()) == LATE


@pytest.mark.timeout(60)
def test_threads_that_others_have_taken(deployed_file: Path) -> None:
    checks = _Checks(create_engine(deployed_file, poolclass=NullPool), 0.1)
    free = threading.Event()

    async def check() -> tuple[str, ...]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        other = asyncio.create_task(asyncio.to_thread(free.wait))
        await asyncio.sleep(0)  # it takes the only thread
        late = (await checks.health()).problems
        free.set()
        await other
        assert (await checks.health()).reachable
        return late

    assert asyncio.run(check()) == LATE
