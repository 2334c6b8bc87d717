"""Uploads and views of each niche, week by week."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any

from sqlalchemy import Float, and_, case, cast, func, select, union_all

from shortsdb.models import Analytics, PipelineRun, Short

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

WEEKS = 8
"""The weeks that are shown."""

NEWEST = 2_500
"""So many runs and as many Shorts are counted, the newest: each costs a look into analytics."""


@dataclass(frozen=True)
class Growth:
    """The weeks of a niche, oldest first.

    Attributes:
        niche: The niche.
        uploads: The compilations and Shorts that were uploaded in each week.
        views: The views that all of them gained in each week.
    """

    niche: str
    uploads: Sequence[int]
    views: Sequence[int]


def week_ends(now: datetime) -> list[datetime]:
    """Return the end of the week before the first one that is shown, and of each one shown."""
    return [now - timedelta(weeks=weeks) for weeks in range(WEEKS, -1, -1)]


def read_growth(session: Session, ends: Sequence[datetime]) -> list[Growth]:
    """Return the growth of each niche with uploads, fastest in the last week first."""
    found = []
    for niche, *numbers in session.execute(_statement(ends)):
        views = numbers[: len(ends)]
        gains = [after - before for before, after in pairwise(views)]
        # SQLite holds infinity too.
        gained = [int(gain) if isfinite(gain) else 0 for gain in gains]
        found.append(Growth(niche, numbers[len(ends) :], gained))
    return sorted(found, key=lambda growth: (-growth.views[-1], str(growth.niche)))


def _statement(ends: Sequence[datetime]) -> Select[Any]:
    """Return a row for each niche: its views at each moment, then its uploads between them.

    Indexes: idx_pipeline_runs_status, ix_shorts_status, and idx_analytics_video once or twice for
    each upload and moment.
    """
    runs = (
        select(
            PipelineRun.niche, PipelineRun.youtube_video_id, PipelineRun.completed_at.label("at")
        )
        .where(PipelineRun.status == "uploaded")
        .order_by(PipelineRun.id.desc())
        .limit(NEWEST)
        .subquery()
    )
    shorts = (
        select(PipelineRun.niche, Short.youtube_video_id, Short.uploaded_at.label("at"))
        .join(Short.pipeline_run)
        .where(Short.status == "uploaded")
        .order_by(Short.id.desc())
        .limit(NEWEST)
        .subquery()
    )
    uploads = union_all(select(runs), select(shorts)).cte("uploads")

    def measured(*when: ColumnElement[bool], latest: bool) -> ColumnElement[int]:
        order = (Analytics.measured_at, Analytics.id)
        return (
            select(Analytics.view_count)
            .where(
                Analytics.youtube_video_id == uploads.c.youtube_video_id,
                Analytics.view_count.is_not(None),
                *when,
            )
            .order_by(*(column.desc() if latest else column for column in order))
            .limit(1)
            .correlate(uploads)
            .scalar_subquery()
        )

    def views(end: datetime) -> ColumnElement[float]:
        # As in `queries.view_growth`, what an upload had before its first measurement is no growth;
        # before the upload it had none.
        count = func.coalesce(
            measured(Analytics.measured_at <= end, latest=True),
            case((uploads.c.at > end, 0), else_=measured(latest=False)),
        )
        # A sum of integers may be too large for one; a float has 2**53 views exactly.
        return func.coalesce(func.sum(cast(count, Float)), 0.0)

    def uploaded(start: datetime, end: datetime) -> ColumnElement[int]:
        inside = and_(uploads.c.at > start, uploads.c.at <= end)
        return func.coalesce(func.sum(case((inside, 1), else_=0)), 0)

    return select(
        uploads.c.niche,
        *map(views, ends),
        *(uploaded(start, end) for start, end in pairwise(ends)),
    ).group_by(uploads.c.niche)
