"""niche_totals and view_growth ignore snapshots without a number."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.orm import Session

from shortsdb import queries
from shortsdb.models import Analytics, PipelineRun, RunStatus

if TYPE_CHECKING:
    from sqlalchemy import Engine

NOON = datetime(2026, 5, 6, 12)  # noqa: DTZ001 - the models hold naive UTC
HOUR = timedelta(hours=1)

# Views and revenue of consecutive snapshots, and the expected totals.
CASES: dict[str, tuple[list[tuple[int | None, float | None]], tuple[int, float]]] = {
    "the last has all": ([(1, 0.5), (7, 1.5)], (7, 1.5)),
    "the last has no revenue": ([(1, 0.5), (7, None)], (7, 0.5)),
    "the last has no views": ([(1, 0.5), (None, 1.5)], (1, 1.5)),
    "the last has nothing": ([(1, 0.5), (7, 1.5), (None, None)], (7, 1.5)),
    "a number that is 0": ([(7, 1.5), (0, 0.0)], (0, 0.0)),
    "never any": ([(None, None)], (0, 0.0)),
    "no snapshot": ([], (0, 0.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_totals_and_growth_count_the_last_number_measured(engine: Engine, case: str) -> None:
    snapshots, (views, revenue) = CASES[case]
    with Session(engine) as session:
        session.add(
            PipelineRun(
                niche="cats",
                cycle_start=NOON,
                cycle_end=NOON,
                status=RunStatus.UPLOADED,
                youtube_video_id="a",
            )
        )
        session.add_all(
            Analytics(
                youtube_video_id="a",
                measured_at=NOON + number * HOUR,
                view_count=count,
                estimated_revenue_usd=dollars,
            )
            for number, (count, dollars) in enumerate(snapshots, start=1)
        )
        # The growth since there was nothing is the total.
        session.add(Analytics(youtube_video_id="a", measured_at=NOON - HOUR, view_count=0))
        session.commit()
        (row,) = session.execute(queries.niche_totals()).all()
        assert tuple(row) == ("cats", 1, views, revenue)
        assert [type(value) for value in row] == [str, int, int, float]
        assert session.scalars(queries.view_growth("a", NOON, NOON + 9 * HOUR)).one() == views


def test_of_two_simultaneous_snapshots_the_later_row_counts(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(
            PipelineRun(
                niche="cats",
                cycle_start=NOON,
                cycle_end=NOON,
                status=RunStatus.UPLOADED,
                youtube_video_id="a",
            )
        )
        for views in (0, 5, 9):
            moment = NOON if views else NOON - HOUR
            session.add(Analytics(youtube_video_id="a", measured_at=moment, view_count=views))
            session.flush()
        (row,) = session.execute(queries.niche_totals()).all()
        assert row.views == 9
        assert session.scalars(queries.view_growth("a", NOON - HOUR, NOON)).one() == 9
        assert session.scalars(queries.latest_snapshot("a")).one().view_count == 9
