"""The discovered_videos table."""

from typing import TYPE_CHECKING

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import PrimaryKey, Timestamp, utcnow

if TYPE_CHECKING:
    from shortsdb.models.clip import Clip


class DiscoveredVideo(Base):
    """A viral video that discovery found on YouTube, and its processing status.

    The discovery step adds one row per video: `video_id` is YouTube's and unique over all niches.
    `processed` is one of `Processed`, `content_id_risk` one of `ContentIdRisk`. This is a deployed
    table: its columns and indexes are frozen.
    """

    __tablename__ = "discovered_videos"
    __table_args__ = (
        Index("idx_discovered_videos_niche", "niche", "discovered_at"),
        Index("idx_discovered_videos_processed", "processed"),
    )

    id: Mapped[PrimaryKey]
    video_id: Mapped[str] = mapped_column(unique=True)
    """YouTube's id of the video."""
    title: Mapped[str]
    """The title on YouTube."""
    channel_name: Mapped[str]
    """Name of the channel that uploaded the video."""
    channel_id: Mapped[str]
    """YouTube's id of that channel."""
    url: Mapped[str]
    """The URL of the video."""
    category_id: Mapped[int | None]
    """YouTube's id of the category."""
    duration_seconds: Mapped[int | None]
    """Length of the video, in whole seconds."""
    view_count: Mapped[int | None]
    """Views when it was discovered."""
    like_count: Mapped[int | None]
    """Likes when it was discovered."""
    comment_count: Mapped[int | None]
    """Comments when it was discovered."""
    view_velocity: Mapped[float | None]
    """Growth rate of the views, as computed by discovery."""
    viral_score: Mapped[float | None]
    """Score given by discovery; videos with higher scores are used first."""
    niche: Mapped[str]
    """The niche for which the video was found."""
    discovery_source: Mapped[str | None]
    """The search or list in which the video was found."""
    discovered_at: Mapped[Timestamp] = mapped_column(default=utcnow)
    """When the video was found."""
    processed: Mapped[int] = mapped_column(default=0)
    """0 pending, 1 used, 2 skipped, 3 rejected."""
    content_id_risk: Mapped[str] = mapped_column(default="unknown")
    """How likely a copyright claim is: low, medium, high or unknown."""

    clips: Mapped[list["Clip"]] = relationship(
        back_populates="discovered_video", passive_deletes="all"
    )
