"""The analytics table."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, PrimaryKey


class Analytics(Base):
    """YouTube's counts for one of our videos at one time.

    The polling step adds one row per video and poll. Counts are totals up to `measured_at`, not
    growth since the last poll; NULL means that YouTube did not report the count.
    `click_through_rate` is a share from 0 to 1. `youtube_video_id` names a compilation or a Short,
    so it is not a foreign key.
    """

    __tablename__ = "analytics"
    __table_args__ = (Index("idx_analytics_video", "youtube_video_id", "measured_at"),)

    id: Mapped[PrimaryKey]
    youtube_video_id: Mapped[str]
    """YouTube's id of the compilation or Short that was measured."""
    measured_at: Mapped[CreatedAt]
    """When the counts were requested from YouTube."""
    view_count: Mapped[int | None]
    """Views so far."""
    like_count: Mapped[int | None]
    """Likes so far."""
    comment_count: Mapped[int | None]
    """Comments so far."""
    average_view_duration_seconds: Mapped[float | None]
    """Average duration of a view."""
    click_through_rate: Mapped[float | None]
    """Share of thumbnail impressions that led to a click, from 0 to 1."""
    subscriber_gain: Mapped[int | None]
    """Subscribers gained through the video so far; may be negative."""
    estimated_revenue_usd: Mapped[float | None]
    """Revenue so far, in US dollars, estimated by YouTube."""
