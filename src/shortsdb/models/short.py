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
    """A Short that a run renders beside its compilation.

    Written by the rendering step as pending, and updated by review and upload: `status` is one of
    `ShortStatus`. `youtube_video_id`, `youtube_url` and `uploaded_at` come from the upload.
    `clip_id` is NULL when the Short is not made of one clip.
    """

    __tablename__ = "shorts"

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[RunId]
    clip_id: Mapped[int | None] = mapped_column(ForeignKey("clips.id"), index=True)
    """The clip that it is made of; NULL when it is not made of one."""
    file_path: Mapped[str | None]
    """The rendered file."""
    duration_seconds: Mapped[float | None]
    """Length of the Short."""
    title: Mapped[str | None]
    """Its title on YouTube."""
    description: Mapped[LongText | None]
    """Its description on YouTube."""
    youtube_video_id: Mapped[str | None]
    """YouTube's id of it, once it is uploaded."""
    youtube_url: Mapped[str | None]
    """Where to watch it, once it is uploaded."""
    status: Mapped[str] = mapped_column(default="pending", server_default="pending", index=True)
    """pending, review, uploaded or failed."""
    uploaded_at: Mapped[Timestamp | None]
    """When it was uploaded."""

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="shorts")
    clip: Mapped["Clip | None"] = relationship(back_populates="shorts")
