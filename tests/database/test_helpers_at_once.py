"""Helpers that read before they write take the write lock, so concurrent calls are correct."""

from __future__ import annotations

from asyncio import CancelledError
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import sqlalchemy
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from shortsdb.database import (
    ConfigOverride,
    DiscoveredVideo,
    ErrorLog,
    delete_override,
    get_override,
    get_pending_videos,
    get_session,
    log_error,
    mark_video_processed,
    resolve_error,
    seed_db,
    set_override,
)
from shortsdb.engine import create_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

AT_ONCE = 6


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Return an engine on a new database."""
    engine = create_engine(url, pool_size=AT_ONCE)
    yield engine
    engine.dispose()


def test_only_one_of_many_concurrent_calls_seeds(engine: Engine) -> None:
    def seed(_: int) -> str:
        with get_session(engine) as session:
            # In a transaction already, that has only read.
            session.scalar(select(func.count(DiscoveredVideo.id)))
            try:
                seed_db(session)
            except ValueError as error:
                return str(error).partition(": ")[2]
            return "seeded"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = sorted(pool.map(seed, range(AT_ONCE)))
    assert found == ["only an empty database is seeded"] * (AT_ONCE - 1) + ["seeded"]
    with get_session(engine) as session:
        assert session.scalar(select(func.count(DiscoveredVideo.id))) == 144


def test_concurrent_calls_set_one_new_setting(engine: Engine) -> None:
    def put(number: int) -> None:
        with get_session(engine) as session:
            assert session.get(ConfigOverride, "none") is None
            for _ in range(5):
                set_override(session, "k", str(number))
                delete_override(session, "k")
            set_override(session, "k", str(number))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, range(AT_ONCE)))
    with get_session(engine) as session:
        assert get_override(session, "k") in {str(number) for number in range(AT_ONCE)}


def test_a_helper_changes_a_row_that_was_read_earlier_and_changed_since(engine: Engine) -> None:
    with get_session(engine) as session, get_session(engine) as other:
        seed_db(session)
        video = get_pending_videos(session, "cats")[0]
        mark_video_processed(other, video.video_id, 1)
        mark_video_processed(session, video.video_id, 2)
        assert other.scalar(select(DiscoveredVideo.processed).filter_by(id=video.id)) == 2
        override = session.get_one(ConfigOverride, "clips_per_run")
        set_override(other, "clips_per_run", "9")
        set_override(session, "clips_per_run", "10")
        assert get_override(other, "clips_per_run") == "10"
        log_error(other, "at once", "T", "message")
        error = session.scalars(select(ErrorLog).filter_by(module="at once")).one()
        resolve_error(other, error.id)
        resolve_error(session, error.id)
        session.refresh(override)
        set_override(other, "clips_per_run", "11")
        assert delete_override(session, "clips_per_run")
        assert other.scalar(select(ErrorLog.resolved).filter_by(id=error.id)) == 1
        assert get_override(other, "clips_per_run") is None


def test_a_helper_keeps_unsaved_changes_of_the_rows_that_it_reads_again(engine: Engine) -> None:
    with get_session(engine) as session:
        set_override(session, "k", "v")
        log_error(session, "m", "T", "message")
        error = session.scalars(select(ErrorLog)).one()
        error.stack_trace = "mine"
        resolve_error(session, error.id)
        session.add(ConfigOverride(key="unsaved", value="too"))
        log_error(session, "m", "T", "another")
        session.rollback()
        assert (error.stack_trace, error.resolved) == ("mine", 1)
        assert get_override(session, "unsaved") == "too"
        assert session.get_one(ConfigOverride, "k").updated_by == "system"


def test_helpers_work_on_a_plain_engine_of_the_application(url: str) -> None:
    plain = sqlalchemy.create_engine(url)
    with Session(plain) as session:
        set_override(session, "k", "v")
        assert get_override(session, "k") == "v"
    plain.dispose()


@pytest.mark.parametrize("error", [KeyboardInterrupt, CancelledError])
def test_an_interrupted_helper_gives_the_lock_away(
    engine: Engine, error: type[BaseException]
) -> None:
    def interrupt(*_: object) -> None:
        raise error

    with get_session(engine) as session, get_session(engine) as other:
        event.listen(session, "after_flush", interrupt)
        with pytest.raises(error):
            set_override(session, "k", "half done")
        assert not session.in_transaction()
        set_override(other, "k", "done")
        assert get_override(session, "k") == "done"
