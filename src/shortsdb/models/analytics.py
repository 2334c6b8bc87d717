"""The analytics table."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, PrimaryKey


class Analytics(Base):
    """What YouTube said of one of our videos at one moment.

    Written by the polling step, one row per video and poll, never updated. Counts are totals up to
    `measured_at`, not growth since the last poll; NULL is what YouTube did not tell.
    `click_through_rate` is a share from 0 to 1. `youtube_video_id` names a compilation or a Short,
    so it is no foreign key.
    """

    __tablename__ = "analytics"
    __table_args__ = (Index("idx_analytics_video", "youtube_video_id", "measured_at"),)

    id: Mapped[PrimaryKey]
    youtube_video_id: Mapped[str]
    measured_at: Mapped[CreatedAt]
    view_count: Mapped[int | None]
    like_count: Mapped[int | None]
    comment_count: Mapped[int | None]
    average_view_duration_seconds: Mapped[float | None]
    click_through_rate: Mapped[float | None]
    subscriber_gain: Mapped[int | None]
    estimated_revenue_usd: Mapped[float | None]
