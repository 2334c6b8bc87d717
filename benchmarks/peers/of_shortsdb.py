"""shortsdb, as README and docstrings say to use it."""

from __future__ import annotations

import asyncio
import operator
import os
from typing import TYPE_CHECKING, Any

from peers import COUNTER
from peers.sessions import MODELS, SessionPeer
from shortsdb import queries
from shortsdb.database import record_snapshots
from shortsdb.engine import (
    async_session_factory,
    create_async_engine,
    create_engine,
    session_factory,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select


class Peer(SessionPeer):
    """See `peers.Peer`."""

    def __init__(self, path: str) -> None:
        """Make the engines."""
        how = os.environ.get("BENCHMARK_SHORTSDB")
        self.in_threads = how == "threads"
        engine, async_engine = create_engine(path), create_async_engine(path)
        async_sessions = async_session_factory(async_engine)
        super().__init__(MODELS, session_factory(engine), async_engine, async_sessions)
        self.readers = session_factory(engine, read_only=True)
        if how != "plain":
            # A plain session begins with its first write, one that is begun with the lock.
            self.begin = operator.methodcaller("begin")

    async def increment_async(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        if self.in_threads:
            await asyncio.to_thread(self.increment, key, think)
        else:
            await super().increment_async(key, think)

    def insert(self, snapshots: Sequence[Any]) -> None:
        """See `peers.Peer`."""
        with self.sessions() as session:
            record_snapshots(session, snapshots)

    def latest_statement(self, video: str) -> Select[Any]:
        """See `SessionPeer`."""
        return queries.latest_snapshot(video)

    def latest_of_statement(self, videos: Sequence[str]) -> Select[Any]:
        """See `SessionPeer`; by one search of the index for each video."""
        return queries.latest_snapshots(videos)

    def whole_run_statement(self, run_id: int) -> Select[Any]:
        """See `SessionPeer`."""
        return queries.run_with_everything(run_id)
