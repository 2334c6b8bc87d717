"""The clips table."""

from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import PrimaryKey

if TYPE_CHECKING:
    from shortsdb.models.discovered_video import DiscoveredVideo
    from shortsdb.models.pipeline_run import PipelineRun
    from shortsdb.models.short import Short


class Clip(Base):
    """A passage cut out of a discovered video for one run.

    Written by the clipping step, one row per passage; `rank_position` is its place in the
    compilation, counted from 1. `clip_duration_seconds` is the end less the start. The file behind
    `clip_file_path` may be gone after the upload, the row stays. Deployed: table, columns and
    indexes are frozen.
    """

    __tablename__ = "clips"
    __table_args__ = (Index("idx_clips_pipeline", "pipeline_run_id"),)

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[int] = mapped_column(ForeignKey("pipeline_runs.id"))
    discovered_video_id: Mapped[int] = mapped_column(ForeignKey("discovered_videos.id"))
    rank_position: Mapped[int]
    start_time_seconds: Mapped[float]
    end_time_seconds: Mapped[float]
    clip_duration_seconds: Mapped[float]
    extraction_method: Mapped[str | None]
    clip_file_path: Mapped[str | None]
    content_id_risk: Mapped[str] = mapped_column(default="unknown")

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="clips")
    discovered_video: Mapped["DiscoveredVideo"] = relationship(back_populates="clips")
    shorts: Mapped[list["Short"]] = relationship(back_populates="clip", passive_deletes="all")
