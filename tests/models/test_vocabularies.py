"""The enums of states: usable as values on both databases, and never enforced."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from shortsdb.models import (
    Base,
    Clip,
    ContentIdRisk,
    DiscoveredVideo,
    PipelineRun,
    Processed,
    ReviewAction,
    ReviewLog,
    RunStatus,
    Short,
    ShortStatus,
)

if TYPE_CHECKING:
    from enum import Enum

    from sqlalchemy import Engine
    from sqlalchemy.orm import InstrumentedAttribute

NOON = datetime(2026, 5, 6, 12)  # noqa: DTZ001 - the models hold naive UTC
# The column that each names the values of, and those values.
VOCABULARIES: list[tuple[type[Enum], Any, list[object]]] = [
    (Processed, DiscoveredVideo.processed, [0, 1, 2, 3]),
    (ContentIdRisk, Clip.content_id_risk, ["low", "medium", "high", "unknown"]),
    (
        RunStatus,
        PipelineRun.status,
        ["pending", "running", "review", "approved", "uploaded", "failed"],
    ),
    (ShortStatus, Short.status, ["pending", "review", "uploaded", "failed"]),
    (ReviewAction, ReviewLog.action, ["approve", "reject", "hold", "skip", "redo_script"]),
]


def rows() -> list[Base]:
    """Return a row of each table that has a state, related to each other."""
    run = PipelineRun(niche="cats", cycle_start=NOON, cycle_end=NOON)
    video = DiscoveredVideo(
        video_id="v", title="", channel_name="", channel_id="", url="", niche="cats"
    )
    clip = Clip(
        pipeline_run=run,
        discovered_video=video,
        rank_position=1,
        start_time_seconds=0.0,
        end_time_seconds=1.0,
        clip_duration_seconds=1.0,
    )
    return [run, video, clip, Short(pipeline_run=run), ReviewLog(pipeline_run=run)]


@pytest.mark.parametrize(("vocabulary", "column", "values"), VOCABULARIES)
def test_members_are_written_found_and_read_back_as_plain_values(
    engine: Engine, vocabulary: type[Enum], column: InstrumentedAttribute[Any], values: list[object]
) -> None:
    assert [member.value for member in vocabulary] == values
    with Session(engine) as session:
        session.add_all(rows())
        session.commit()
        row = session.scalars(select(column.class_)).one()
        for member in vocabulary:
            setattr(row, column.key, member)
            session.commit()
            read = session.scalars(select(column).where(column == member)).all()
            assert read == [member.value]
            assert type(read[0]) is type(member.value)
            assert session.scalars(select(column).where(column.in_(list(vocabulary)))).all() == read
            session.execute(update(column.class_).values({column.key: member}))
            session.expire_all()
            assert type(getattr(row, column.key)) is type(member.value)


@pytest.mark.parametrize(("vocabulary", "_column", "values"), VOCABULARIES)
def test_in_a_text_a_member_is_its_value(
    vocabulary: type[Enum], _column: object, values: list[object]
) -> None:
    assert [f"{member}" for member in vocabulary] == list(map(str, values))


@pytest.mark.parametrize(("vocabulary", "column", "values"), VOCABULARIES)
def test_defaults_are_members_and_other_values_are_stored_too(
    engine: Engine, vocabulary: type[Enum], column: InstrumentedAttribute[Any], values: list[object]
) -> None:
    other = 99 if isinstance(values[0], int) else "something else"
    with Session(engine) as session:
        session.add_all(rows())
        session.commit()
        row = session.scalars(select(column.class_)).one()
        default = getattr(row, column.key)
        assert default in {None, *vocabulary}
        setattr(row, column.key, other)
        session.commit()
        assert getattr(row, column.key) == other
