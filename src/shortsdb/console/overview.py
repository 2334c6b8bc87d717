"""What the first page says: runs, reviews, errors and growth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from shortsdb import queries
from shortsdb.console.growth import NEWEST, Growth, read_growth, week_ends
from shortsdb.console.tables import views
from shortsdb.models import ErrorLog, PipelineRun, ReviewLog, RunStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Row, Select
    from sqlalchemy.orm import InstrumentedAttribute, Session


SHOWN = 5
"""Rows of the tables of the first page; each leads to all of them."""


@dataclass(frozen=True)
class Overview:
    """The channel at one moment.

    Attributes:
        now: The moment.
        runs: The number of runs by status, those of the vocabulary first.
        failed: The failed runs that ended last; one without an end counts from its start.
        reviews: The open reviews that wait longest, with the niche of their run.
        open_reviews: The number of all open reviews.
        errors: The number of unresolved errors by module.
        newest_errors: The newest unresolved errors.
        growth: The growth of each niche.
        weeks: The first day of each of its weeks.
        limit: The number of runs, and of Shorts, that it counts at most.
    """

    now: datetime
    runs: Mapping[str, int]
    failed: Sequence[Row[Any]]
    reviews: Sequence[Row[Any]]
    open_reviews: int
    errors: Mapping[str, int]
    newest_errors: Sequence[Row[Any]]
    growth: Sequence[Growth]
    weeks: Sequence[str]
    limit: int


def read_overview(session: Session, now: datetime) -> Overview:
    """Return what the first page says."""
    counted = session.execute(select(PipelineRun.status, func.count()).group_by(PipelineRun.status))
    runs = {str(status): 0 for status in RunStatus}
    runs |= {status: count for status, count in counted}  # noqa: C416 - a Row is no pair for mypy
    open_reviews = queries.open_reviews()
    unresolved = select(ErrorLog).where(ErrorLog.resolved == 0).order_by(ErrorLog.id.desc())
    # A run that is retried keeps its id. The index on status leaves few rows to sort.
    ended = func.coalesce(PipelineRun.completed_at, PipelineRun.started_at)
    newest = (ended.desc().nulls_last(), PipelineRun.id.desc())
    failed = queries.runs_by_status("failed").order_by(None).order_by(*newest)
    ends = week_ends(now)
    weeks = [f"{end:%d %b}" for end in ends[:-1]]
    growth = read_growth(session, ends)
    # A young channel has not begun in the first of these weeks.
    begun = min(
        (
            week
            for of in growth
            for week, numbers in enumerate(zip(of.uploads, of.views, strict=True))
            if any(numbers)
        ),
        default=0,
    )
    return Overview(
        now=now,
        runs=runs,
        failed=_first(session, failed, "pipeline_runs"),
        reviews=_first(
            session,
            open_reviews.outerjoin(ReviewLog.pipeline_run),
            "review_logs",
            PipelineRun.niche,
        ),
        open_reviews=session.scalar(
            select(func.count()).select_from(open_reviews.order_by(None).subquery())
        )
        or 0,
        errors={module: count for module, count in session.execute(queries.error_counts())},  # noqa: C416 - as above
        newest_errors=_first(session, unresolved, "error_logs"),
        growth=[Growth(of.niche, of.uploads[begun:], of.views[begun:]) for of in growth],
        weeks=weeks[begun:],
        limit=NEWEST,
    )


def _first(
    session: Session, rows: Select[Any], table: str, *others: InstrumentedAttribute[Any]
) -> Sequence[Row[Any]]:
    """Return the first rows, whatever is in their columns, and columns of other tables."""
    columns = (*views()[table].stored, *others)
    return session.execute(rows.with_only_columns(*columns).limit(SHOWN)).all()
