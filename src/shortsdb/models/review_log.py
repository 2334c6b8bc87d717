"""The review_logs table."""

from typing import TYPE_CHECKING

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, Flag, PrimaryKey, RunId, Timestamp

if TYPE_CHECKING:
    from shortsdb.models.pipeline_run import PipelineRun


class ReviewLog(Base):
    """A review request sent to the human over Telegram, and the answer.

    The row is added when the request is sent, and updated with the answer, or with `auto_held` 1 if
    nobody answers in time. It is open while `responded_at` is NULL and `auto_held` is 0. `action`
    is one of `ReviewAction`, `response_detail` the rest of the answer, such as "skip 4,7".
    """

    __tablename__ = "review_logs"
    __table_args__ = (Index(None, "auto_held", "responded_at", "sent_at"),)

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[RunId]
    sent_at: Mapped[CreatedAt]
    """When the request was sent."""
    responded_at: Mapped[Timestamp | None]
    """When it was answered; NULL until then."""
    action: Mapped[str | None]
    """approve, reject, hold, skip or redo_script; NULL until there is an answer."""
    response_detail: Mapped[str | None]
    """The rest of the answer, such as "skip 4,7"."""
    auto_held: Mapped[Flag]
    """1 if there was no answer in time, otherwise 0."""

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="review_logs")
