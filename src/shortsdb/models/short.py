"""The shorts table."""

from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import LongText, PrimaryKey, RunId, Timestamp

if TYPE_CHECKING:
    from shortsdb.models.clip import Clip
    from shortsdb.models.pipeline_run import PipelineRun


class Short(Base):
    """A Short that a run renders in addition to its compilation.

    The rendering step adds the row as pending; review and upload update it: `status` is one of
    `ShortStatus`. The upload sets `youtube_video_id`, `youtube_url` and `uploaded_at`. `clip_id` is
    NULL if the Short is not made from a single clip.
    """

    __tablename__ = "shorts"

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[RunId]
    clip_id: Mapped[int | None] = mapped_column(ForeignKey("clips.id"), index=True)
    """The clip that it is made from; NULL if it is not made from a single clip."""
    file_path: Mapped[str | None]
    """The rendered file."""
    duration_seconds: Mapped[float | None]
    """Length of the Short."""
    title: Mapped[str | None]
    """The title on YouTube."""
    description: Mapped[LongText | None]
    """The description on YouTube."""
    youtube_video_id: Mapped[str | None]
    """YouTube's id of the uploaded Short."""
    youtube_url: Mapped[str | None]
    """The URL of the uploaded Short."""
    status: Mapped[str] = mapped_column(default="pending", server_default="pending", index=True)
    """pending, review, uploaded or failed."""
    uploaded_at: Mapped[Timestamp | None]
    """When the Short was uploaded."""

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="shorts")
    clip: Mapped["Clip | None"] = relationship(back_populates="shorts")
