"""SQLModel, with the engine of its tutorial."""

# Without postponed annotations: SQLModel reads those of the classes.

import asyncio
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import NaiveDatetime
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import joinedload, selectinload
from sqlmodel import Field, Relationship, Session, SQLModel, create_engine, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from peers import COUNTER


class DiscoveredVideo(SQLModel, table=True):
    """A row of discovered_videos."""

    __tablename__: ClassVar[Any] = "discovered_videos"

    id: int | None = Field(default=None, primary_key=True)
    video_id: str
    title: str
    channel_name: str
    channel_id: str
    url: str
    category_id: int | None = None
    duration_seconds: int | None = None
    view_count: int | None = None
    like_count: int | None = None
    comment_count: int | None = None
    view_velocity: float | None = None
    viral_score: float | None = None
    niche: str
    discovery_source: str | None = None
    discovered_at: NaiveDatetime
    processed: int
    content_id_risk: str


class PipelineRun(SQLModel, table=True):
    """A row of pipeline_runs."""

    __tablename__: ClassVar[Any] = "pipeline_runs"

    id: int | None = Field(default=None, primary_key=True)
    niche: str
    cycle_start: NaiveDatetime
    cycle_end: NaiveDatetime
    status: str
    started_at: NaiveDatetime | None = None
    completed_at: NaiveDatetime | None = None
    video_file_path: str | None = None
    video_duration_seconds: float | None = None
    video_file_size_bytes: int | None = None
    youtube_video_id: str | None = None
    youtube_url: str | None = None
    error_message: str | None = None
    retry_count: int
    clips: list["Clip"] = Relationship()
    scripts: list["Script"] = Relationship()
    tts_audio: list["TTSAudio"] = Relationship()
    shorts: list["Short"] = Relationship()
    review_logs: list["ReviewLog"] = Relationship()
    error_logs: list["ErrorLog"] = Relationship()


class Clip(SQLModel, table=True):
    """A row of clips."""

    __tablename__: ClassVar[Any] = "clips"

    id: int | None = Field(default=None, primary_key=True)
    pipeline_run_id: int = Field(foreign_key="pipeline_runs.id")
    discovered_video_id: int = Field(foreign_key="discovered_videos.id")
    rank_position: int
    start_time_seconds: float
    end_time_seconds: float
    clip_duration_seconds: float
    extraction_method: str | None = None
    clip_file_path: str | None = None
    content_id_risk: str
    discovered_video: DiscoveredVideo = Relationship()


class Script(SQLModel, table=True):
    """A row of scripts."""

    __tablename__: ClassVar[Any] = "scripts"

    id: int | None = Field(default=None, primary_key=True)
    pipeline_run_id: int = Field(foreign_key="pipeline_runs.id")
    opening_text: str | None = None
    closing_text: str | None = None
    full_script_json: str
    total_char_count: int
    estimated_duration_seconds: float
    llm_model_used: str
    generated_at: NaiveDatetime


class TTSAudio(SQLModel, table=True):
    """A row of tts_audio."""

    __tablename__: ClassVar[Any] = "tts_audio"

    id: int | None = Field(default=None, primary_key=True)
    pipeline_run_id: int = Field(foreign_key="pipeline_runs.id")
    engine_used: str
    voice_profile: str | None = None
    audio_file_path: str | None = None
    duration_seconds: float | None = None
    generated_at: NaiveDatetime


class Short(SQLModel, table=True):
    """A row of shorts."""

    __tablename__: ClassVar[Any] = "shorts"

    id: int | None = Field(default=None, primary_key=True)
    pipeline_run_id: int = Field(foreign_key="pipeline_runs.id")
    clip_id: int | None = Field(default=None, foreign_key="clips.id")
    file_path: str | None = None
    duration_seconds: float | None = None
    title: str | None = None
    description: str | None = None
    youtube_video_id: str | None = None
    youtube_url: str | None = None
    status: str
    uploaded_at: NaiveDatetime | None = None
    clip: Clip | None = Relationship()


class ReviewLog(SQLModel, table=True):
    """A row of review_logs."""

    __tablename__: ClassVar[Any] = "review_logs"

    id: int | None = Field(default=None, primary_key=True)
    pipeline_run_id: int = Field(foreign_key="pipeline_runs.id")
    sent_at: NaiveDatetime
    responded_at: NaiveDatetime | None = None
    action: str | None = None
    response_detail: str | None = None
    auto_held: int


class ErrorLog(SQLModel, table=True):
    """A row of error_logs."""

    __tablename__: ClassVar[Any] = "error_logs"

    id: int | None = Field(default=None, primary_key=True)
    pipeline_run_id: int | None = Field(default=None, foreign_key="pipeline_runs.id")
    module: str
    error_type: str
    error_message: str
    stack_trace: str | None = None
    occurred_at: NaiveDatetime
    resolved: int


class Analytics(SQLModel, table=True):
    """A row of analytics."""

    __tablename__: ClassVar[Any] = "analytics"

    id: int | None = Field(default=None, primary_key=True)
    youtube_video_id: str
    measured_at: NaiveDatetime
    view_count: int | None = None
    like_count: int | None = None
    comment_count: int | None = None
    average_view_duration_seconds: float | None = None
    click_through_rate: float | None = None
    subscriber_gain: int | None = None
    estimated_revenue_usd: float | None = None


class ConfigOverride(SQLModel, table=True):
    """A row of config_overrides."""

    __tablename__: ClassVar[Any] = "config_overrides"

    key: str = Field(primary_key=True)
    value: str
    updated_at: NaiveDatetime
    updated_by: str


OTHERS = ("scripts", "tts_audio", "review_logs", "error_logs")


class Peer:
    """See `peers.Peer`."""

    def __init__(self, path: str) -> None:
        """Make the engines."""
        self.engine = create_engine(f"sqlite:///{path}")
        self.async_engine = create_async_engine(f"sqlite+aiosqlite:///{path}")

    def increment(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        with Session(self.engine) as session:
            row = session.get_one(ConfigOverride, key)
            time.sleep(think)
            row.value = str(int(row.value) + 1)
            session.add(row)
            session.commit()

    async def increment_async(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        async with AsyncSession(self.async_engine) as session:
            row = await session.get_one(ConfigOverride, key)
            await asyncio.sleep(think)
            row.value = str(int(row.value) + 1)
            session.add(row)
            await session.commit()

    async def close_async(self) -> None:
        """See `peers.Counting`."""
        await self.async_engine.dispose()

    def insert(self, snapshots: Sequence[dict[str, Any]]) -> None:
        """See `peers.Peer`; by SQLAlchemy's bulk insert, which it passes on."""
        with Session(self.engine) as session:
            session.exec(insert(Analytics), params=snapshots)
            session.commit()

    def objects(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        key: Any = Analytics.id
        with Session(self.engine) as session:
            return len(session.exec(select(Analytics).where(key.between(first, last))).all())

    def rows(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        model: Any = Analytics
        columns = model.__table__.c
        with Session(self.engine) as session:
            statement: Any = select(*columns).where(columns.id.between(first, last))
            return len(session.exec(statement).all())

    def latest(self, video: str) -> int | None:
        """See `peers.Peer`."""
        model: Any = Analytics
        statement = (
            select(Analytics)
            .where(model.youtube_video_id == video)
            .order_by(model.measured_at.desc(), model.id.desc())
            .limit(1)
        )
        with Session(self.engine) as session:
            return session.exec(statement).one().view_count

    def latest_of(self, videos: Sequence[str]) -> int:
        """See `peers.Peer`; by the greatest measured_at of each video, joined back."""
        model: Any = Analytics
        latest = (
            select(model.youtube_video_id, func.max(model.measured_at).label("at"))
            .where(model.youtube_video_id.in_(videos))
            .group_by(model.youtube_video_id)
            .subquery()
        )
        statement = select(Analytics).join(
            latest,
            (model.youtube_video_id == latest.c.youtube_video_id)
            & (model.measured_at == latest.c.at),
        )
        with Session(self.engine) as session:
            return sum(snapshot.view_count or 0 for snapshot in session.exec(statement))

    def whole_run(self, run_id: int) -> int:
        """See `peers.Peer`."""
        run: Any = PipelineRun
        clip: Any = Clip
        short: Any = Short
        statement = (
            select(PipelineRun)
            .where(run.id == run_id)
            .options(
                selectinload(run.clips).options(joinedload(clip.discovered_video)),
                selectinload(run.shorts).options(joinedload(short.clip)),
                *(selectinload(getattr(run, name)) for name in OTHERS),
            )
        )
        with Session(self.engine) as session:
            found = session.exec(statement).one()
            videos = [clip.discovered_video for clip in found.clips]
            under = ("clips", "shorts", *OTHERS)
            return 1 + len(videos) + sum(len(getattr(found, name)) for name in under)
