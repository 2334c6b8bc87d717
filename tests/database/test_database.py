"""The helpers that application code calls, sync and async."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from inspect_sqlite import row_hashes, schema, version
from project import HEAD
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError

import shortsdb.engine
import shortsdb.models
from shortsdb import database, queries
from shortsdb.database import (
    Analytics,
    ConfigOverride,
    DiscoveredVideo,
    ErrorLog,
    PipelineRun,
    Script,
    Short,
    check_db_health,
    check_db_health_async,
    delete_override,
    delete_override_async,
    drop_db,
    drop_db_async,
    get_override,
    get_override_async,
    get_pending_videos,
    get_pending_videos_async,
    get_session,
    get_session_async,
    init_db,
    init_db_async,
    log_error,
    log_error_async,
    mark_video_processed,
    mark_video_processed_async,
    record_snapshot,
    record_snapshot_async,
    record_snapshots,
    record_snapshots_async,
    resolve_error,
    resolve_error_async,
    seed_db,
    seed_db_async,
    set_override,
    set_override_async,
)
from shortsdb.migration import MigrationRefused
from shortsdb.models import OWN_TABLES
from shortsdb.seed import EXAMPLE_END, channel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Server
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

NOON = datetime(2026, 5, 6, 12)  # noqa: DTZ001 - the models hold naive UTC


@pytest.fixture
def memory() -> Iterator[Engine]:
    """Return an engine on a database in memory."""
    engine = init_db(":memory:")
    yield engine
    engine.dispose()


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    """Return a session on the small channel."""
    engine = shortsdb.engine.create_engine(url)
    with get_session(engine) as session:
        seed_db(session)
        yield session
    engine.dispose()


def test_the_module_exports_base_all_models_and_all_helpers() -> None:
    assert set(database.__all__) >= set(shortsdb.models.__all__)
    assert all(hasattr(database, name) for name in database.__all__)
    helpers = {name for name in database.__all__ if name[0].islower()} - {"metadata"}
    sync = {name for name in helpers if not name.endswith("_async")}
    assert helpers == sync | {f"{name}_async" for name in sync}
    assert all(getattr(database, name).__doc__ for name in helpers)
    assert all(getattr(database, name).__name__ == name for name in helpers)


def test_importing_it_imports_no_alembic() -> None:
    script = "import sys, shortsdb.database; print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"False\n"


@pytest.mark.parametrize("form", ["path", "text", "url", "async url", "strange"])
def test_init_db_runs_the_migrations(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("a?b%c d.db" if form == "strange" else "new.db")
    given: dict[str, Any] = {
        "path": path,
        "text": str(path),
        "url": f"sqlite:///{path}",
        "async url": f"sqlite+aiosqlite:///{path}",
        "strange": path,
    }
    for _ in range(2):  # the second time there is nothing to do
        engine = init_db(given[form])
        assert check_db_health(engine).ok
        engine.dispose()
    assert version(path) == [HEAD]


def test_init_db_upgrades_a_deployed_file_and_keeps_its_rows(deployed_file: Path) -> None:
    before = row_hashes(deployed_file)
    init_db(deployed_file).dispose()
    after = row_hashes(deployed_file)
    assert {table: after[table] for table in before} == before
    assert version(deployed_file) == [HEAD]


def test_init_db_refuses_foreign_files_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE clips (id INTEGER)")
    before = schema(path)
    with pytest.raises(MigrationRefused, match="clips"):
        init_db(path)
    with pytest.raises(MigrationRefused, match="clips"):
        asyncio.run(init_db_async(path))
    assert schema(path) == before


def test_init_db_in_memory_has_the_same_schema_as_a_file(tmp_path: Path, memory: Engine) -> None:
    path = tmp_path / "new.db"
    init_db(path).dispose()
    master = text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")

    async def main() -> dict[str, str]:
        engines = await asyncio.gather(*(init_db_async(":memory:") for _ in range(3)))
        async with engines[1].connect() as connection:
            found = {name: sql for name, sql in await connection.execute(master)}  # noqa: C416 - rows are no tuples to mypy
            revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        for engine in engines:
            await engine.dispose()
        assert revision == HEAD
        return found

    with memory.connect() as connection:
        found = {name: sql for name, sql in connection.execute(master)}  # noqa: C416 - as above
    assert found == schema(path) == asyncio.run(main())


def test_init_db_works_inside_a_running_event_loop(tmp_path: Path) -> None:
    async def main() -> None:
        for place in (tmp_path / "x.db", ":memory:"):
            engine = init_db(place)
            assert check_db_health(engine).ok
            engine.dispose()

    asyncio.run(main())


def test_many_tasks_and_threads_may_init_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        places: list[Any] = [tmp_path / "a.db"] * 3 + [tmp_path / "b.db", ":memory:"]
        engines = await asyncio.gather(*map(init_db_async, places))
        for engine in engines:
            assert (await check_db_health_async(engine)).ok
            await engine.dispose()

    asyncio.run(main())


def test_init_db_creates_and_upgrades_on_postgresql(postgres: Server) -> None:
    url = postgres.create_database().url
    for _ in range(2):  # the second time there is nothing to do
        engine = init_db(url)
        assert check_db_health(engine).ok
        engine.dispose()

    async def main() -> None:
        engine = await init_db_async(url)
        assert (await check_db_health_async(engine)).ok
        await engine.dispose()

    asyncio.run(main())


def test_get_pending_videos_and_mark_video_processed(session: Session) -> None:
    videos = get_pending_videos(session, "cats")
    scores = [video.viral_score or 0.0 for video in videos]
    assert len(videos) == 16
    assert scores == sorted(scores, reverse=True)
    mark_video_processed(session, videos[0].video_id, 2)
    session.rollback()  # it was committed
    assert videos[0].processed == 2
    assert get_pending_videos(session, "cats") == videos[1:]
    assert get_pending_videos(session, "no such niche") == []


def test_an_unknown_video_is_refused_and_rolled_back(session: Session) -> None:
    session.add(ConfigOverride(key="half done", value=""))
    with pytest.raises(ValueError, match="there is no video 'nope'"):
        mark_video_processed(session, "nope", 1)
    session.commit()
    assert session.get(ConfigOverride, "half done") is None


@pytest.mark.parametrize("empty", ["", " \n"])
def test_empty_arguments_are_refused(session: Session, empty: str) -> None:
    nothing: Any = None
    calls: list[Any] = [
        lambda: get_pending_videos(session, empty),
        lambda: mark_video_processed(session, empty, 1),
        lambda: mark_video_processed(session, "v", nothing),
        lambda: log_error(session, empty, "E", "x"),
        lambda: log_error(session, "m", empty, "x"),
        lambda: log_error(session, "m", "E", empty),
        lambda: get_override(session, empty),
        lambda: set_override(session, empty, "v"),
        lambda: set_override(session, "k", "v", updated_by=empty),
        lambda: delete_override(session, empty),
        lambda: record_snapshot(session, empty),
        lambda: record_snapshots(session, [{"youtube_video_id": "a"}, {"youtube_video_id": empty}]),
    ]
    before = session.scalar(select(func.count(Analytics.id)))
    for call in calls:
        with pytest.raises(ValueError, match="is empty"):
            call()
    assert session.scalar(select(func.count(Analytics.id))) == before


def test_log_error(session: Session) -> None:
    run = session.scalars(select(PipelineRun.id)).first()
    log_error(session, "upload", "OSError", "voll", run, "Traceback …")
    log_error(session, "upload", "OSError", "voll", stack_trace=None, pipeline_run_id=None)
    session.rollback()
    second, first = session.scalars(queries.unresolved_errors("upload")).all()
    assert (first.pipeline_run_id, first.stack_trace) == (run, "Traceback …")
    assert (second.pipeline_run_id, second.stack_trace, second.resolved) == (None, None, 0)
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        log_error(session, "upload", "OSError", "voll", pipeline_run_id=10**6)
    assert len(session.scalars(queries.unresolved_errors("upload")).all()) == 2


def test_an_error_is_logged_after_a_failed_flush(session: Session) -> None:
    session.add(Short(pipeline_run_id=10**6))
    with pytest.raises(IntegrityError):
        session.flush()
    log_error(session, "telegram", "IntegrityError", "no such run")
    assert len(session.scalars(queries.unresolved_errors("telegram")).all()) == 1


def test_resolve_error(session: Session) -> None:
    for message in ("first", "second"):
        log_error(session, "subtitles", "OSError", message)
    second, first = session.scalars(queries.unresolved_errors("subtitles")).all()
    resolve_error(session, second.id)
    resolve_error(session, second.id)
    assert session.scalars(queries.unresolved_errors("subtitles")).all() == [first]
    with pytest.raises(ValueError, match="there is no error 4711"):
        resolve_error(session, 4711)


def test_overrides(session: Session) -> None:
    assert get_override(session, "volume") is None
    set_override(session, "volume", "")
    assert get_override(session, "volume") == ""
    first = session.get_one(ConfigOverride, "volume").updated_at
    set_override(session, "volume", "11", updated_by="telegram")
    override = session.get_one(ConfigOverride, "volume")
    assert (override.value, override.updated_by) == ("11", "telegram")
    assert override.updated_at > first
    assert delete_override(session, "volume") is True
    assert delete_override(session, "volume") is False
    assert get_override(session, "volume") is None


def test_snapshots(session: Session) -> None:
    east = NOON.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=9)))
    record_snapshot(session, "yt", view_count=3, measured_at=east)
    snapshot = session.scalars(queries.latest_snapshot("yt")).one()
    assert (snapshot.measured_at, snapshot.view_count, snapshot.like_count) == (NOON, 3, None)
    many = [
        {"youtube_video_id": "yt", "like_count": 5},
        {"youtube_video_id": "yt", "view_count": 9, "measured_at": NOON},
        {"youtube_video_id": "zz"},
    ]
    given: Any = (row for row in many)  # any iterable
    assert record_snapshots(session, given) == 3
    session.rollback()
    latest = session.scalars(queries.latest_snapshot("yt")).one()
    assert latest.like_count == 5
    assert latest.view_count is None
    now = datetime.now(UTC).replace(tzinfo=None)
    assert timedelta(0) <= now - latest.measured_at < timedelta(minutes=5)
    assert record_snapshots(session, []) == 0
    with pytest.raises(ValueError, match="no such counts: views"):
        record_snapshots(session, [{"youtube_video_id": "yt", "views": 1}])  # type: ignore[typeddict-unknown-key]


def test_seed_data_is_plausible_and_reproducible(session: Session) -> None:
    statuses = set(session.scalars(select(PipelineRun.status)))
    assert statuses == {"pending", "running", "review", "approved", "uploaded", "failed"}
    assert all(script.full_script["lines"] for script in session.scalars(select(Script)))
    for video in set(session.scalars(select(Analytics.youtube_video_id))):
        views = session.scalars(
            select(Analytics.view_count)
            .where(Analytics.youtube_video_id == video)
            .order_by(Analytics.measured_at)
        ).all()
        assert list(views) == sorted(set(views), key=lambda count: count or 0)
    again = init_db(":memory:")
    with get_session(again) as other:
        seed_db(other)
        models = {type(row) for row in channel(EXAMPLE_END, days=2)}
        assert len(models) >= 10
        for model in models:
            rows, copies = (
                [row.to_dict() for row in s.scalars(select(model))] for s in (session, other)
            )
            assert rows
            assert rows == copies
    again.dispose()
    with pytest.raises(ValueError, match="only an empty database is seeded"):
        seed_db(session)


def test_a_database_with_a_row_in_any_table_is_not_seeded(full_file: Path) -> None:
    with closing(sqlite3.connect(full_file)) as connection, connection:
        for name in OWN_TABLES:
            connection.execute(f"CREATE TABLE kept_{name} AS SELECT * FROM {name}")
            connection.execute(f"DELETE FROM {name}")
    engine = shortsdb.engine.create_engine(full_file, pragmas={"foreign_keys": "OFF"})
    with get_session(engine) as session:
        for name in OWN_TABLES:
            session.execute(text(f"INSERT INTO {name} SELECT * FROM kept_{name}"))
            session.commit()
            with pytest.raises(ValueError, match=f"{name} has rows"):
                seed_db(session)
            session.execute(text(f"DELETE FROM {name}"))
            session.commit()
        seed_db(session)
    engine.dispose()


@pytest.mark.parametrize("confirmed", [{}, {"confirm": True}, {"confirm_again": True}])
def test_drop_db_needs_two_confirmations(memory: Engine, confirmed: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="drop_db deletes all rows"):
        drop_db(memory, **confirmed)
    assert check_db_health(memory).ok


def test_drop_db_of_a_database_without_tables_does_nothing(url: str) -> None:
    engine = shortsdb.engine.create_engine(url)
    for _ in range(2):
        drop_db(engine, confirm=True, confirm_again=True)
    engine.dispose()


def test_drop_db_drops_only_own_tables(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    engine = init_db(path)
    with get_session(engine) as session:
        seed_db(session)
        session.execute(text("CREATE TABLE of_others (x)"))
        session.commit()
    drop_db(engine, confirm=True, confirm_again=True)
    engine.dispose()
    assert set(schema(path)) == {"of_others"}


async def use_everything(engine: AsyncEngine, session: AsyncSession) -> None:
    await seed_db_async(session)
    videos = await get_pending_videos_async(session, "cats")
    await mark_video_processed_async(session, videos[0].video_id, 3)
    assert videos[0].processed == 3
    with pytest.raises(ValueError, match="there is no video"):
        await mark_video_processed_async(session, video_id="nope", status=1)
    await log_error_async(session, "m", "E", "x", stack_trace="t")
    errors = (await session.scalars(queries.unresolved_errors("m"))).all()
    assert [error.stack_trace for error in errors] == ["t"]
    await resolve_error_async(session, errors[0].id)
    assert not (await session.scalars(queries.unresolved_errors("m"))).all()
    await set_override_async(session, "k", "v", updated_by="bot")
    assert await get_override_async(session, "k") == "v"
    assert await delete_override_async(session, "k")
    await record_snapshot_async(session, "yt", view_count=1)
    assert await record_snapshots_async(session, [{"youtube_video_id": "yt"}]) == 1
    await session.commit()
    assert (await check_db_health_async(engine)).ok
    with pytest.raises(ValueError, match="drop_db deletes all rows"):
        await drop_db_async(engine, confirm=True)
    with pytest.raises(ValueError, match="drop_db deletes all rows"):
        await drop_db_async(engine, confirm_again=True)
    await drop_db_async(engine, confirm=True, confirm_again=True)
    assert not (await check_db_health_async(engine)).ok


def test_every_helper_has_an_equivalent_async_counterpart(url: str) -> None:
    async def main(place: str) -> None:
        engine = await init_db_async(place)
        async with get_session_async(engine) as session:
            await use_everything(engine, session)
        await engine.dispose()

    for place in (url, ":memory:"):
        asyncio.run(main(place))


def test_models_are_the_same_classes() -> None:
    for model in (DiscoveredVideo, ErrorLog, PipelineRun):
        assert getattr(shortsdb.models, model.__name__) is model
