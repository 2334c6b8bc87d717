"""The analytics table."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, PrimaryKey


class Analytics(Base):
    """What YouTube reported about one of our videos at one moment.

    Written by the polling step, one row per video and poll; a later poll adds a row. Counts are
    totals up to `measured_at`, not growth since the last poll; NULL is what YouTube did not tell.
    `click_through_rate` is a share from 0 to 1. `youtube_video_id` names a compilation or a Short,
    so it is no foreign key.
    """

    __tablename__ = "analytics"
    __table_args__ = (Index("idx_analytics_video", "youtube_video_id", "measured_at"),)

    id: Mapped[PrimaryKey]
    youtube_video_id: Mapped[str]
    """YouTube's id of the compilation or Short that was measured."""
    measured_at: Mapped[CreatedAt]
    """When YouTube was asked."""
    view_count: Mapped[int | None]
    """Views so far."""
    like_count: Mapped[int | None]
    """Likes so far."""
    comment_count: Mapped[int | None]
    """Comments so far."""
    average_view_duration_seconds: Mapped[float | None]
    """How long a view lasts on average."""
    click_through_rate: Mapped[float | None]
    """Share of those who saw the thumbnail that clicked, from 0 to 1."""
    subscriber_gain: Mapped[int | None]
    """Subscribers gained through the video so far; may be negative."""
    estimated_revenue_usd: Mapped[float | None]
    """Revenue so far, in US dollars, as YouTube estimates it."""
