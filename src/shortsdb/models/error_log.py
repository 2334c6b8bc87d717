"""The error_logs table."""

from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, Flag, LongText, PrimaryKey

if TYPE_CHECKING:
    from shortsdb.models.pipeline_run import PipelineRun


class ErrorLog(Base):
    """An error that occurred in a module of the pipeline.

    Store it in a separate transaction, so that it is kept when the failed work is rolled back.
    `resolved` is 1 once the error is resolved. `pipeline_run_id` is NULL if no run was active.
    """

    __tablename__ = "error_logs"
    __table_args__ = (
        Index("idx_error_log_module", "module", "occurred_at"),
        Index(None, "resolved", "module", "occurred_at"),
    )

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[int | None] = mapped_column(ForeignKey("pipeline_runs.id"), index=True)
    """The run that was active; NULL if there was none."""
    module: Mapped[str]
    """The module of the pipeline in which the error occurred."""
    error_type: Mapped[str]
    """The class of the error."""
    error_message: Mapped[LongText]
    """The message of the error."""
    stack_trace: Mapped[LongText | None]
    """The stack trace of the error."""
    occurred_at: Mapped[CreatedAt]
    """When the error occurred."""
    resolved: Mapped[Flag]
    """1 if the error is resolved, otherwise 0."""

    pipeline_run: Mapped["PipelineRun | None"] = relationship(back_populates="error_logs")
