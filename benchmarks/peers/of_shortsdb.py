"""shortsdb, as README and docstrings say to use it."""

from __future__ import annotations

import asyncio
import operator
import os
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from peers import COUNTER
from shortsdb import queries
from shortsdb.database import record_snapshots
from shortsdb.engine import (
    async_session_factory,
    create_async_engine,
    create_engine,
    session_factory,
)
from shortsdb.models import Analytics, ConfigOverride

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Peer:
    """See `peers.Peer`."""

    def __init__(self, path: str) -> None:
        """Make the engines."""
        how = os.environ.get("BENCHMARK_SHORTSDB")
        self.in_threads = how == "threads"
        # A plain session begins with its first write, one that is begun with the lock.
        self.begin: Callable[[Any], Any] = (
            operator.call if how == "plain" else operator.methodcaller("begin")
        )
        engine = create_engine(path)
        self.sessions = session_factory(engine)
        self.readers = session_factory(engine, read_only=True)
        self.async_engine = create_async_engine(path)
        self.async_sessions = async_session_factory(self.async_engine)

    def increment(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        with self.begin(self.sessions) as session:
            row = session.get_one(ConfigOverride, key)
            time.sleep(think)
            row.value = str(int(row.value) + 1)
            session.commit()

    async def increment_async(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        if self.in_threads:
            await asyncio.to_thread(self.increment, key, think)
            return
        async with self.begin(self.async_sessions) as session:
            row = await session.get_one(ConfigOverride, key)
            await asyncio.sleep(think)
            row.value = str(int(row.value) + 1)
            await session.commit()

    async def close_async(self) -> None:
        """See `peers.Counting`."""
        await self.async_engine.dispose()

    def insert(self, snapshots: Sequence[Any]) -> None:
        """See `peers.Peer`."""
        with self.sessions() as session:
            record_snapshots(session, snapshots)

    def objects(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        with self.readers() as session:
            statement = select(Analytics).where(Analytics.id.between(first, last))
            return len(session.scalars(statement).all())

    def rows(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        columns = Analytics.__table__.c
        with self.readers() as session:
            # A column of the model would send all rows through the ORM.
            statement = select(*columns).where(columns.id.between(first, last))
            return len(session.execute(statement).all())

    def latest(self, video: str) -> int | None:
        """See `peers.Peer`."""
        with self.readers() as session:
            return session.scalars(queries.latest_snapshot(video)).one().view_count

    def latest_of(self, videos: Sequence[str]) -> int:
        """See `peers.Peer`."""
        with self.readers() as session:
            found = session.scalars(queries.latest_snapshots(videos))
            return sum(snapshot.view_count or 0 for snapshot in found)

    def whole_run(self, run_id: int) -> int:
        """See `peers.Peer`."""
        with self.readers() as session:
            run = session.scalars(queries.run_with_everything(run_id)).one()
            videos = [clip.discovered_video for clip in run.clips]
            return 1 + sum(
                len(rows)
                for rows in (
                    run.clips,
                    videos,
                    run.scripts,
                    run.tts_audio,
                    run.shorts,
                    run.review_logs,
                    run.error_logs,
                )
            )
