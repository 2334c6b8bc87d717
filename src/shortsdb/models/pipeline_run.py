"""The pipeline_runs table."""

from typing import TYPE_CHECKING

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import LongText, PrimaryKey, Timestamp

if TYPE_CHECKING:
    from shortsdb.models.clip import Clip
    from shortsdb.models.error_log import ErrorLog
    from shortsdb.models.review_log import ReviewLog
    from shortsdb.models.script import Script
    from shortsdb.models.short import Short
    from shortsdb.models.tts_audio import TTSAudio


class PipelineRun(Base):
    """One cycle of one niche, from discovery to upload.

    The row is added when a cycle begins, and updated at each stage: `status` is one of `RunStatus`.
    `cycle_start` and `cycle_end` bound the discovery window, `started_at` and `completed_at` the
    work itself. All rows that the cycle produces refer to it; if foreign keys are enforced, a run
    with children cannot be deleted. This is a deployed table: its columns and indexes are frozen.
    """

    __tablename__ = "pipeline_runs"
    __table_args__ = (
        Index("idx_pipeline_runs_niche", "niche", "cycle_start"),
        Index("idx_pipeline_runs_status", "status"),
    )

    id: Mapped[PrimaryKey]
    niche: Mapped[str]
    """The niche of the cycle."""
    cycle_start: Mapped[Timestamp]
    """Beginning of the discovery window."""
    cycle_end: Mapped[Timestamp]
    """End of the discovery window."""
    status: Mapped[str] = mapped_column(default="pending")
    """pending, running, review, approved, uploaded or failed."""
    started_at: Mapped[Timestamp | None]
    """When the work began; NULL until then."""
    completed_at: Mapped[Timestamp | None]
    """When the work ended; NULL until then."""
    video_file_path: Mapped[str | None]
    """The file of the rendered compilation."""
    video_duration_seconds: Mapped[float | None]
    """Length of the compilation."""
    video_file_size_bytes: Mapped[int | None]
    """Size of that file."""
    youtube_video_id: Mapped[str | None]
    """YouTube's id of the uploaded compilation."""
    youtube_url: Mapped[str | None]
    """The URL of the compilation on YouTube."""
    error_message: Mapped[LongText | None]
    """Why the run failed."""
    retry_count: Mapped[int] = mapped_column(default=0)
    """How often the run was retried."""

    clips: Mapped[list["Clip"]] = relationship(back_populates="pipeline_run", passive_deletes="all")
    scripts: Mapped[list["Script"]] = relationship(
        back_populates="pipeline_run", passive_deletes="all"
    )
    tts_audio: Mapped[list["TTSAudio"]] = relationship(
        back_populates="pipeline_run", passive_deletes="all"
    )
    shorts: Mapped[list["Short"]] = relationship(
        back_populates="pipeline_run", passive_deletes="all"
    )
    review_logs: Mapped[list["ReviewLog"]] = relationship(
        back_populates="pipeline_run", passive_deletes="all"
    )
    error_logs: Mapped[list["ErrorLog"]] = relationship(
        back_populates="pipeline_run", passive_deletes="all"
    )
