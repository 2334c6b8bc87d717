"""SQLAlchemy with its default engine, and the same tables with its own types."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime, MetaData, create_engine, func, insert, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import joinedload, registry, relationship, selectinload, sessionmaker

from peers import COUNTER
from shortsdb.models import metadata
from shortsdb.models.types import UTCDateTime

if TYPE_CHECKING:
    from collections.abc import Sequence

_metadata = MetaData()
for _table in metadata.tables.values():
    _table.to_metadata(_metadata)
for _table in _metadata.tables.values():
    for _column in _table.columns:
        if isinstance(_column.type, UTCDateTime):
            _column.type = DateTime()


class Analytics:
    """A row of analytics."""


class ConfigOverride:
    """A row of config_overrides."""


class DiscoveredVideo:
    """A row of discovered_videos."""


class PipelineRun:
    """A row of pipeline_runs."""


class Clip:
    """A row of clips."""


class Script:
    """A row of scripts."""


class TTSAudio:
    """A row of tts_audio."""


class Short:
    """A row of shorts."""


class ReviewLog:
    """A row of review_logs."""


class ErrorLog:
    """A row of error_logs."""


UNDER_A_RUN: dict[str, type[Any]] = {
    "clips": Clip,
    "scripts": Script,
    "tts_audio": TTSAudio,
    "shorts": Short,
    "review_logs": ReviewLog,
    "error_logs": ErrorLog,
}
REFERRED: dict[str, dict[str, type[Any]]] = {
    "clips": {"discovered_video": DiscoveredVideo},
    "shorts": {"clip": Clip},
}
_mapped = registry()
for _name, _model in UNDER_A_RUN.items():
    _mapped.map_imperatively(
        _model,
        _metadata.tables[_name],
        properties={name: relationship(other) for name, other in REFERRED.get(_name, {}).items()},
    )
_mapped.map_imperatively(DiscoveredVideo, _metadata.tables["discovered_videos"])
_mapped.map_imperatively(Analytics, _metadata.tables["analytics"])
_mapped.map_imperatively(ConfigOverride, _metadata.tables["config_overrides"])
_mapped.map_imperatively(
    PipelineRun,
    _metadata.tables["pipeline_runs"],
    properties={name: relationship(model) for name, model in UNDER_A_RUN.items()},
)

# What is mapped imperatively has its attributes at run time only.
_analytics: Any = Analytics
_run: Any = PipelineRun


class Peer:
    """See `peers.Peer`."""

    def __init__(self, path: str) -> None:
        """Make the engines."""
        self.sessions = sessionmaker(create_engine(f"sqlite:///{path}"))
        self.async_engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        # As https://docs.sqlalchemy.org/en/20/orm/extensions/asyncio.html has it.
        self.async_sessions = async_sessionmaker(self.async_engine, expire_on_commit=False)

    def increment(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        with self.sessions.begin() as session:
            row: Any = session.get_one(ConfigOverride, key)
            time.sleep(think)
            row.value = str(int(row.value) + 1)

    async def increment_async(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        async with self.async_sessions.begin() as session:
            row: Any = await session.get_one(ConfigOverride, key)
            await asyncio.sleep(think)
            row.value = str(int(row.value) + 1)

    async def close_async(self) -> None:
        """See `peers.Counting`."""
        await self.async_engine.dispose()

    def insert(self, snapshots: Sequence[dict[str, Any]]) -> None:
        """See `peers.Peer`; by the bulk insert of its ORM."""
        with self.sessions.begin() as session:
            session.execute(insert(Analytics), snapshots)

    def objects(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        with self.sessions() as session:
            statement = select(Analytics).where(_analytics.id.between(first, last))
            return len(session.scalars(statement).all())

    def rows(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        table = _metadata.tables["analytics"]
        with self.sessions() as session:
            statement = select(*table.c).where(table.c.id.between(first, last))
            return len(session.execute(statement).all())

    def latest(self, video: str) -> int | None:
        """See `peers.Peer`."""
        statement = (
            select(Analytics)
            .where(_analytics.youtube_video_id == video)
            .order_by(_analytics.measured_at.desc(), _analytics.id.desc())
            .limit(1)
        )
        with self.sessions() as session:
            found: Any = session.scalars(statement).one()
            return int(found.view_count)

    def latest_of(self, videos: Sequence[str]) -> int:
        """See `peers.Peer`; by the greatest measured_at of each video, joined back."""
        latest = (
            select(_analytics.youtube_video_id, func.max(_analytics.measured_at).label("at"))
            .where(_analytics.youtube_video_id.in_(videos))
            .group_by(_analytics.youtube_video_id)
            .subquery()
        )
        statement = select(Analytics).join(
            latest,
            (_analytics.youtube_video_id == latest.c.youtube_video_id)
            & (_analytics.measured_at == latest.c.at),
        )
        with self.sessions() as session:
            found: Any = session.scalars(statement)
            return sum(snapshot.view_count for snapshot in found)

    def whole_run(self, run_id: int) -> int:
        """See `peers.Peer`."""
        loads = [
            selectinload(getattr(_run, name)).options(
                *(joinedload(getattr(model, other)) for other in REFERRED.get(name, {}))
            )
            for name, model in UNDER_A_RUN.items()
        ]
        statement = select(PipelineRun).where(_run.id == run_id).options(*loads)
        with self.sessions() as session:
            run: Any = session.scalars(statement).one()
            videos = [clip.discovered_video for clip in run.clips]
            return 1 + len(videos) + sum(len(getattr(run, name)) for name in UNDER_A_RUN)
