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

    The clipping step adds one row per passage. `rank_position` is its position in the compilation,
    counted from 1. `clip_duration_seconds` is the end minus the start. The file `clip_file_path`
    may be deleted after the upload; the row remains. This is a deployed table: its columns and
    indexes are frozen.
    """

    __tablename__ = "clips"
    __table_args__ = (Index("idx_clips_pipeline", "pipeline_run_id"),)

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[int] = mapped_column(ForeignKey("pipeline_runs.id"))
    """The run for which the clip was cut."""
    discovered_video_id: Mapped[int] = mapped_column(ForeignKey("discovered_videos.id"))
    """The video from which the clip was cut."""
    rank_position: Mapped[int]
    """Position in the compilation, counted from 1."""
    start_time_seconds: Mapped[float]
    """Start of the passage in the video."""
    end_time_seconds: Mapped[float]
    """End of the passage in the video."""
    clip_duration_seconds: Mapped[float]
    """The end minus the start."""
    extraction_method: Mapped[str | None]
    """How the passage was chosen."""
    clip_file_path: Mapped[str | None]
    """The file of the clip; it may be deleted after the upload."""
    content_id_risk: Mapped[str] = mapped_column(default="unknown")
    """How likely a copyright claim is: low, medium, high or unknown."""

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="clips")
    discovered_video: Mapped["DiscoveredVideo"] = relationship(back_populates="clips")
    shorts: Mapped[list["Short"]] = relationship(back_populates="clip", passive_deletes="all")
