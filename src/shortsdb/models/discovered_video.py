"""The discovered_videos table."""

from typing import TYPE_CHECKING

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import PrimaryKey, Timestamp, utcnow

if TYPE_CHECKING:
    from shortsdb.models.clip import Clip


class DiscoveredVideo(Base):
    """A viral video that discovery found on YouTube, and what became of it.

    Written by the discovery step, once per video: `video_id` is YouTube's and unique over all
    niches. `processed` is 0 pending, 1 used, 2 skipped or 3 rejected; `content_id_risk` is low,
    medium, high or unknown. Deployed: table, columns and indexes are frozen.
    """

    __tablename__ = "discovered_videos"
    __table_args__ = (
        Index("idx_discovered_videos_niche", "niche", "discovered_at"),
        Index("idx_discovered_videos_processed", "processed"),
    )

    id: Mapped[PrimaryKey]
    video_id: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    channel_name: Mapped[str]
    channel_id: Mapped[str]
    url: Mapped[str]
    category_id: Mapped[int | None]
    duration_seconds: Mapped[int | None]
    view_count: Mapped[int | None]
    like_count: Mapped[int | None]
    comment_count: Mapped[int | None]
    view_velocity: Mapped[float | None]
    viral_score: Mapped[float | None]
    niche: Mapped[str]
    discovery_source: Mapped[str | None]
    discovered_at: Mapped[Timestamp] = mapped_column(default=utcnow)
    processed: Mapped[int] = mapped_column(default=0)
    content_id_risk: Mapped[str] = mapped_column(default="unknown")

    clips: Mapped[list["Clip"]] = relationship(
        back_populates="discovered_video", passive_deletes="all"
    )
