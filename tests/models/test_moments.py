"""A `date` in place of a `datetime` means its midnight in UTC, as in deployed code."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import DateTime, Engine, insert, select, type_coerce
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from shortsdb.models import Analytics, Base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

DAY = date(2026, 5, 6)
MIDNIGHT = datetime(2026, 5, 6)  # noqa: DTZ001 - the models hold naive UTC


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


@pytest.fixture
def _tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be in another time zone, as the sessions of the server are."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        patch.setenv("PGTZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_tokyo")
def test_the_default_is_the_present_of_the_row(engine: Engine) -> None:
    for _ in range(2):
        before = now()
        with Session(engine) as session:
            row = Analytics(youtube_video_id="a")
            session.add(row)
            session.commit()
            assert before <= row.measured_at <= now()


def test_a_date_is_written_by_orm_and_core(engine: Engine) -> None:
    by_day: Any = DAY
    with Session(engine) as session:
        session.add(Analytics(youtube_video_id="a", measured_at=by_day))
        session.execute(insert(Analytics), [{"youtube_video_id": "b", "measured_at": DAY}])
        session.execute(
            insert(Base.metadata.tables["analytics"]).values(youtube_video_id="c", measured_at=DAY)
        )
        session.commit()
        assert session.scalars(select(Analytics.measured_at)).all() == [MIDNIGHT] * 3


def test_a_date_is_accepted_in_filters(engine: Engine) -> None:
    hour = timedelta(hours=1)
    with Session(engine) as session:
        session.add_all(
            Analytics(youtube_video_id=name, measured_at=moment)
            for name, moment in (
                ("before", MIDNIGHT - hour),
                ("at", MIDNIGHT.replace(tzinfo=UTC)),
                ("after", MIDNIGHT + hour),
            )
        )
        session.commit()
        measured = Analytics.measured_at
        for condition, expected in (
            (measured < DAY, ["before"]),
            (measured == DAY, ["at"]),
            (measured >= DAY, ["at", "after"]),
            (measured.between(DAY, DAY + timedelta(days=1)), ["at", "after"]),
            (measured.in_([DAY]), ["at"]),
        ):
            found = session.scalars(
                select(Analytics.youtube_video_id).where(condition).order_by(Analytics.id)
            )
            assert found.all() == expected


def test_statements_with_times_are_compiled_once() -> None:
    first, second = (
        select(Analytics.id).where(Analytics.measured_at < day)._generate_cache_key()  # noqa: SLF001 - what SQLAlchemy caches by
        for day in (DAY, MIDNIGHT)
    )
    assert first is not None
    assert first == second


def test_sqlite_stores_what_plain_datetime_stored(sqlite_engine: Engine) -> None:
    ours, plain = (
        type_.dialect_impl(sqlite_engine.dialect).bind_processor(sqlite_engine.dialect)
        for type_ in (Analytics.__table__.c.measured_at.type, DateTime())
    )
    assert ours is not None
    assert plain is not None
    assert ours(DAY) == plain(DAY) == "2026-05-06 00:00:00.000000"


def test_values_that_are_not_times_are_refused(engine: Engine) -> None:
    with Session(engine) as session, pytest.raises(StatementError):
        session.scalars(
            select(Analytics).where(
                Analytics.measured_at == type_coerce("x", Analytics.measured_at.type)
            )
        )
