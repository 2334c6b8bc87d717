"""The error_logs table."""

from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, Flag, LongText, PrimaryKey

if TYPE_CHECKING:
    from shortsdb.models.pipeline_run import PipelineRun


class ErrorLog(Base):
    """An error that a module of the pipeline met.

    Write it in a transaction of its own, so that it outlives the work that failed. `resolved`
    becomes 1 when somebody has dealt with it. `pipeline_run_id` is NULL when no run was under way.
    """

    __tablename__ = "error_logs"
    __table_args__ = (
        Index("idx_error_log_module", "module", "occurred_at"),
        Index(None, "resolved", "module", "occurred_at"),
    )

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[int | None] = mapped_column(ForeignKey("pipeline_runs.id"), index=True)
    """The run that was under way; NULL when none was."""
    module: Mapped[str]
    """The module of the pipeline that met the error."""
    error_type: Mapped[str]
    """The class of the error."""
    error_message: Mapped[LongText]
    """What it said."""
    stack_trace: Mapped[LongText | None]
    """Where it happened."""
    occurred_at: Mapped[CreatedAt]
    """When it happened."""
    resolved: Mapped[Flag]
    """1 when somebody has dealt with it, else 0."""

    pipeline_run: Mapped["PipelineRun | None"] = relationship(back_populates="error_logs")
