"""The models and helpers of the deployed application: plain SQLAlchemy, create_all, no shortsdb."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    create_engine,
)
from sqlalchemy.orm import DeclarativeBase, Session


def _utcnow() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class Base(DeclarativeBase):
    """The base of the deployed models."""


class DiscoveredVideo(Base):
    """A video, as deployed."""

    __tablename__ = "discovered_videos"
    __table_args__ = (
        Index("idx_discovered_videos_processed", "processed"),
        Index("idx_discovered_videos_niche", "niche", "discovered_at"),
    )
    id = Column(Integer, primary_key=True)
    video_id = Column(String, unique=True, nullable=False)
    title = Column(String, nullable=False)
    channel_name = Column(String, nullable=False)
    channel_id = Column(String, nullable=False)
    url = Column(String, nullable=False)
    category_id = Column(Integer)
    duration_seconds = Column(Integer)
    view_count = Column(Integer)
    like_count = Column(Integer)
    comment_count = Column(Integer)
    view_velocity = Column(Float)
    viral_score = Column(Float)
    niche = Column(String, nullable=False)
    discovery_source = Column(String)
    discovered_at = Column(DateTime, nullable=False, default=_utcnow)
    processed = Column(Integer, nullable=False, default=0)
    content_id_risk = Column(String, nullable=False, default="unknown")


class PipelineRun(Base):
    """A run, as deployed."""

    __tablename__ = "pipeline_runs"
    __table_args__ = (
        Index("idx_pipeline_runs_niche", "niche", "cycle_start"),
        Index("idx_pipeline_runs_status", "status"),
    )
    id = Column(Integer, primary_key=True)
    niche = Column(String, nullable=False)
    cycle_start = Column(DateTime, nullable=False)
    cycle_end = Column(DateTime, nullable=False)
    status = Column(String, nullable=False, default="pending")
    started_at = Column(DateTime)
    completed_at = Column(DateTime)
    video_file_path = Column(String)
    video_duration_seconds = Column(Float)
    video_file_size_bytes = Column(Integer)
    youtube_video_id = Column(String)
    youtube_url = Column(String)
    error_message = Column(Text)
    retry_count = Column(Integer, nullable=False, default=0)


class Clip(Base):
    """A clip, as deployed."""

    __tablename__ = "clips"
    __table_args__ = (Index("idx_clips_pipeline", "pipeline_run_id"),)
    id = Column(Integer, primary_key=True)
    pipeline_run_id = Column(Integer, ForeignKey("pipeline_runs.id"), nullable=False)
    discovered_video_id = Column(Integer, ForeignKey("discovered_videos.id"), nullable=False)
    rank_position = Column(Integer, nullable=False)
    start_time_seconds = Column(Float, nullable=False)
    end_time_seconds = Column(Float, nullable=False)
    clip_duration_seconds = Column(Float, nullable=False)
    extraction_method = Column(String)
    clip_file_path = Column(String)
    content_id_risk = Column(String, nullable=False, default="unknown")


def init_db(db_path: str) -> Engine:
    """Create the missing tables, and return an engine."""
    engine = create_engine(f"sqlite:///{db_path}")
    Base.metadata.create_all(engine)
    return engine


def get_session(engine: Engine) -> Session:
    """Return a session that does not autoflush."""
    return Session(engine, autoflush=False)


def get_pending_videos(session: Session, niche: str) -> list[Any]:
    """Return the pending videos of a niche, best first."""
    return (
        session.query(DiscoveredVideo)
        .filter_by(niche=niche, processed=0)
        .order_by(DiscoveredVideo.viral_score.desc())
        .all()
    )


def mark_video_processed(session: Session, video_id: str, status: int) -> None:
    """Write down what became of a video."""
    video = session.query(DiscoveredVideo).filter_by(video_id=video_id).one_or_none()
    if video is None:
        raise ValueError(video_id)
    video.processed = status  # type: ignore[assignment] # as deployed code is typed
    session.commit()
