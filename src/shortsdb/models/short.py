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

    Written by the rendering step as pending, and updated by review and upload: `status` is
    pending, review, uploaded or failed. `youtube_video_id`, `youtube_url` and `uploaded_at` are
    set together, on upload. `clip_id` is NULL when the Short is not made of one clip.
    """

    __tablename__ = "shorts"

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[RunId]
    clip_id: Mapped[int | None] = mapped_column(ForeignKey("clips.id"), index=True)
    file_path: Mapped[str | None]
    duration_seconds: Mapped[float | None]
    title: Mapped[str | None]
    description: Mapped[LongText | None]
    youtube_video_id: Mapped[str | None]
    youtube_url: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="pending", server_default="pending", index=True)
    uploaded_at: Mapped[Timestamp | None]

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="shorts")
    clip: Mapped["Clip | None"] = relationship(back_populates="shorts")
