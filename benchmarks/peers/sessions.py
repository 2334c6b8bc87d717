"""What the peers with sessions of SQLAlchemy share."""

from __future__ import annotations

import asyncio
import operator
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import joinedload, selectinload

from peers import COUNTER, UNDER_A_RUN, rows_of
from shortsdb.models import Base

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
    from sqlalchemy.orm import Session, sessionmaker

MODELS = {str(mapper.local_table): mapper.class_ for mapper in Base.registry.mappers}
"""shortsdb's own, by the names of their tables."""


def relations(table: str) -> dict[str, str]:
    """Return the attributes of a model for related rows, and the tables that those are in."""
    if table == "pipeline_runs":
        return {name: name for name in UNDER_A_RUN}
    other = UNDER_A_RUN.get(table)
    return {other: f"{other}s"} if other else {}


class SessionPeer:
    """See `peers.Peer`."""

    def __init__(
        self,
        models: Mapping[str, Any],
        sessions: sessionmaker[Session],
        async_engine: AsyncEngine,
        async_sessions: async_sessionmaker[Any],
    ) -> None:
        """Take the models by the names of their tables, and what makes sessions."""
        self.models = models
        self.sessions = self.readers = sessions
        self.async_engine = async_engine
        self.async_sessions = async_sessions
        # How a session begins that reads and writes.
        self.begin: Callable[[Any], Any] = operator.call

    def increment(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        with self.begin(self.sessions) as session:
            row = session.get_one(self.models["config_overrides"], key)
            time.sleep(think)
            row.value = str(int(row.value) + 1)
            session.commit()

    async def increment_async(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        async with self.begin(self.async_sessions) as session:
            row = await session.get_one(self.models["config_overrides"], key)
            await asyncio.sleep(think)
            row.value = str(int(row.value) + 1)
            await session.commit()

    async def close_async(self) -> None:
        """See `peers.Counting`."""
        await self.async_engine.dispose()

    def insert(self, snapshots: Sequence[dict[str, Any]]) -> None:
        """See `peers.Peer`; by the bulk insert of the ORM."""
        with self.sessions() as session:
            session.execute(insert(self.models["analytics"]), snapshots)
            session.commit()

    def objects(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        model = self.models["analytics"]
        with self.readers() as session:
            return len(session.scalars(select(model).where(model.id.between(first, last))).all())

    def rows(self, first: int, last: int) -> int:
        """See `peers.Peer`; a column of the model would send all rows through the ORM."""
        columns = self.models["analytics"].__table__.c
        with self.readers() as session:
            statement = select(*columns).where(columns.id.between(first, last))
            return len(session.execute(statement).all())

    def latest(self, video: str) -> int | None:
        """See `peers.Peer`."""
        with self.readers() as session:
            return int(session.scalars(self.latest_statement(video)).one().view_count)

    def latest_of(self, videos: Sequence[str]) -> int:
        """See `peers.Peer`."""
        with self.readers() as session:
            found = session.scalars(self.latest_of_statement(videos))
            return sum(snapshot.view_count for snapshot in found)

    def whole_run(self, run_id: int) -> int:
        """See `peers.Peer`."""
        with self.readers() as session:
            run = session.scalars(self.whole_run_statement(run_id)).one()
            return rows_of({name: getattr(run, name) for name in UNDER_A_RUN})

    def latest_statement(self, video: str) -> Select[Any]:
        """Return the query for the latest snapshot of a video."""
        model = self.models["analytics"]
        newest = (model.measured_at.desc(), model.id.desc())
        return select(model).where(model.youtube_video_id == video).order_by(*newest).limit(1)

    def latest_of_statement(self, videos: Sequence[str]) -> Select[Any]:
        """Return that for several: the greatest measured_at of each video, joined back."""
        model = self.models["analytics"]
        latest = (
            select(model.youtube_video_id, func.max(model.measured_at).label("at"))
            .where(model.youtube_video_id.in_(videos))
            .group_by(model.youtube_video_id)
            .subquery()
        )
        return select(model).join(
            latest,
            (model.youtube_video_id == latest.c.youtube_video_id)
            & (model.measured_at == latest.c.at),
        )

    def whole_run_statement(self, run_id: int) -> Select[Any]:
        """Return the query for a run and all under it."""
        run = self.models["pipeline_runs"]
        loads = [
            selectinload(getattr(run, name)).options(
                *([joinedload(getattr(self.models[name], other))] if other else [])
            )
            for name, other in UNDER_A_RUN.items()
        ]
        return select(run).where(run.id == run_id).options(*loads)
