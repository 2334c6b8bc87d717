"""The review_logs table."""

from typing import TYPE_CHECKING

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, Flag, PrimaryKey, RunId, Timestamp

if TYPE_CHECKING:
    from shortsdb.models.pipeline_run import PipelineRun


class ReviewLog(Base):
    """A question to the human over Telegram, and the answer.

    Written when the question is sent, and updated with the answer, or with `auto_held` 1 when
    nobody answered in time. Open while both `responded_at` is NULL and `auto_held` is 0. `action`
    is one of `ReviewAction`, `response_detail` the rest of the answer, such as "skip 4,7".
    """

    __tablename__ = "review_logs"
    __table_args__ = (Index(None, "auto_held", "responded_at", "sent_at"),)

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[RunId]
    sent_at: Mapped[CreatedAt]
    """When the question was sent."""
    responded_at: Mapped[Timestamp | None]
    """When it was answered; NULL while it was not."""
    action: Mapped[str | None]
    """approve, reject, hold, skip or redo_script; NULL while nobody answered."""
    response_detail: Mapped[str | None]
    """The rest of the answer, such as "skip 4,7"."""
    auto_held: Mapped[Flag]
    """1 when nobody answered in time, else 0."""

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="review_logs")
