"""The three weeks that `shortsdb seed` writes: what an operator looks for is in them once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from shortsdb import queries
from shortsdb.database import get_session, init_db, seed_db
from shortsdb.models import Analytics, ErrorLog, PipelineRun, ReviewLog
from shortsdb.models.types import UTCDateTime
from shortsdb.seed import channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

MORNING = datetime(2026, 3, 2, 8, tzinfo=UTC).replace(tzinfo=None)
DAYS = 21


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """Return a session on three weeks of a channel, for reading."""
    engine = init_db(":memory:")
    with get_session(engine) as session:
        seed_db(session, end=MORNING, days=DAYS)
        yield session
    engine.dispose()


def test_one_run_failed_last_night_and_the_error_says_why(session: Session) -> None:
    last_night = PipelineRun.completed_at > MORNING - timedelta(hours=12)
    failed = session.scalars(queries.runs_by_status("failed").where(last_night)).one()
    error = session.scalars(select(ErrorLog).filter_by(pipeline_run_id=failed.id)).one()
    assert failed.error_message == f"{error.module}: {error.error_message}"
    assert error.stack_trace is not None
    assert error.stack_trace.endswith(f"{error.error_type}: {error.error_message}\n")
    assert not error.resolved


def test_open_reviews_have_waited_differently_long(session: Session) -> None:
    sent = [review.sent_at for review in session.scalars(queries.open_reviews())]
    assert len(sent) == len(set(sent)) == 4
    assert timedelta(days=1) < MORNING - sent[0] < timedelta(days=2)


def test_one_niche_grows_fastest_but_has_not_the_most_views(session: Session) -> None:
    totals = {row.niche: row.views for row in session.execute(queries.niche_totals())}
    gained: Counter[str] = Counter()
    week = (MORNING - timedelta(days=7), MORNING)
    for run in session.scalars(queries.runs_by_status("uploaded")):
        for name in (run.youtube_video_id, *(short.youtube_video_id for short in run.shorts)):
            gained[run.niche] += session.scalar(queries.view_growth(str(name), *week)) or 0
    assert max(totals, key=totals.__getitem__) == "cats"
    assert gained.most_common(1)[0][0] == "cooking"


def test_every_state_is_there_and_no_time_is_later_than_the_end(session: Session) -> None:
    rows: list[Any] = channel(MORNING, DAYS)
    for model in {type(row) for row in rows}:
        for column in model.__table__.columns:
            if isinstance(column.type, UTCDateTime) and column.name != "cycle_end":
                latest = session.scalar(select(func.max(column)))
                assert latest is not None
                assert latest <= MORNING, column
    actions = set(session.scalars(select(ReviewLog.action)))
    assert actions == {None, "approve", "reject", "redo_script", "skip"}
    assert set(session.scalars(select(ReviewLog.auto_held))) == {0, 1}
    assert set(session.scalars(select(ErrorLog.resolved))) == {0, 1}
    polls = session.scalars(
        select(func.count()).select_from(Analytics).group_by(Analytics.youtube_video_id)
    ).all()
    assert (min(polls), max(polls)) == (1, 26)
