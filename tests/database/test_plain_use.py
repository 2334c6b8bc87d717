"""Plain SQLAlchemy code works with an engine and its sessions on files with rows."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import legacy_database
import pytest
from inspect_sqlite import BOOKKEEPING
from sample_rows import fill_new_tables
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError

from shortsdb.database import (
    Base,
    Clip,
    ConfigOverride,
    DiscoveredVideo,
    ErrorLog,
    Short,
    get_override,
    get_override_async,
    get_session,
    get_session_async,
    init_db,
    init_db_async,
    set_override,
)
from shortsdb.engine import session_factory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.fixture
def full_file(tmp_path: Path) -> Path:
    """Return a deployed file that was moved over, with rows in all tables."""
    path = legacy_database.make(tmp_path / "full.db")
    init_db(path).dispose()
    fill_new_tables(path)
    return path


@pytest.fixture(params=["file", "memory"])
def engine(request: pytest.FixtureRequest, full_file: Path) -> Iterator[Engine]:
    """Return an engine on rows in all tables, in a file and in memory."""
    engine = init_db(":memory:" if request.param == "memory" else full_file)
    if request.param == "memory":
        with closing(sqlite3.connect(full_file)) as source, engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            source.backup(driver)
    yield engine
    engine.dispose()


def test_every_table_has_rows(engine: Engine) -> None:
    with get_session(engine) as session:
        for mapper in Base.registry.mappers:
            assert session.scalars(select(mapper.class_)).first() is not None


def test_an_incomplete_object_does_not_fail_the_next_query(engine: Engine) -> None:
    with get_session(engine) as session:
        before = len(session.scalars(select(DiscoveredVideo)).all())
        video = DiscoveredVideo(video_id="half done")
        session.add(video)
        assert len(session.scalars(select(DiscoveredVideo)).all()) == before
        assert get_override(session, "ключ") == "значение"
        with pytest.raises(IntegrityError):
            session.commit()


def test_an_incomplete_object_does_not_fail_the_next_query_async(full_file: Path) -> None:
    async def main() -> None:
        engine = await init_db_async(full_file)
        async with get_session_async(engine) as session:
            session.add(DiscoveredVideo(video_id="half done"))
            assert (await session.scalars(select(Clip))).all()
            assert await get_override_async(session, "ключ") == "значение"
            with pytest.raises(IntegrityError):
                await session.commit()
        await engine.dispose()

    asyncio.run(main())


def test_a_setting_changed_by_another_session_is_read(full_file: Path) -> None:
    async def main() -> None:
        engine = await init_db_async(full_file)
        other = init_db(full_file)
        async with get_session_async(engine) as session, asyncio.timeout(60):
            for value in ("1", "2"):
                with get_session(other) as elsewhere:
                    set_override(elsewhere, "k", value)
                assert await get_override_async(session, "k") == value
                await session.get(ConfigOverride, "k")
                await session.commit()
        other.dispose()
        await engine.dispose()

    asyncio.run(main())


def test_two_sessions_at_once(engine: Engine) -> None:
    with get_session(engine) as first, get_session(engine) as second:
        clips = first.query(Clip).all()
        assert [clip.id for clip in second.query(Clip).all()] == [clip.id for clip in clips]
        second.add(ErrorLog(module="m", error_type="E", error_message="x"))
        second.commit()
        assert first.query(ErrorLog).filter_by(module="m").count() == 1
        # Reading after a commit blocks nobody.
        first.commit()
        assert clips[0].rank_position
        second.add(ErrorLog(module="m", error_type="E", error_message="y"))
        second.commit()


def test_inspect_beside_an_open_session(engine: Engine) -> None:
    with get_session(engine) as session:
        assert session.query(Clip).first() is not None
        assert set(inspect(engine).get_table_names()) == {*Base.metadata.tables, *BOOKKEEPING}
        session.add(ErrorLog(module="m", error_type="E", error_message="x"))
        session.flush()
        assert inspect(engine).has_table("clips")
        session.commit()


def test_vacuum_on_a_connection(engine: Engine) -> None:
    with engine.connect() as connection:
        before = connection.execute(text("SELECT count(*) FROM clips")).scalar_one()
        connection.rollback()
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM"))
        assert connection.execute(text("SELECT count(*) FROM clips")).scalar_one() == before
    with get_session(engine) as session:
        session.add(ErrorLog(module="m", error_type="E", error_message="x"))
        session.commit()


def test_vacuum_as_deployed_code_runs_it(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("VACUUM"))
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM")


def test_a_raw_connection_commits_and_rolls_back(engine: Engine) -> None:
    insert = "INSERT INTO config_overrides (key, value) VALUES (?, 'v')"
    raw = engine.raw_connection()
    raw.cursor().execute(insert, ("undone",))
    raw.rollback()
    raw.cursor().execute(insert, ("kept",))
    raw.commit()
    raw.cursor().execute(insert, ("lost",))
    raw.close()
    with get_session(engine) as session:
        assert get_override(session, "kept") == "v"
        assert get_override(session, "undone") is None
        assert get_override(session, "lost") is None


def test_foreign_keys_can_be_off_on_a_connection(engine: Engine) -> None:
    orphan = text("INSERT INTO shorts (pipeline_run_id) VALUES (1000000)")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 0
        connection.execute(orphan)
        connection.commit()
        # The pool would hand the connection on as it is.
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    with get_session(engine) as session:
        assert session.query(Short).filter_by(pipeline_run_id=1000000).count() == 1
        with pytest.raises(IntegrityError):
            session.execute(orphan)


def test_a_reading_session_does_not_end_the_transaction_of_another(engine: Engine) -> None:
    with get_session(engine) as writer:
        writer.add(ErrorLog(module="m", error_type="E", error_message="x"))
        writer.flush()
        for read_only in (True, False):
            with session_factory(engine, read_only=read_only)() as reader:
                assert reader.query(Clip).first() is not None
                reader.commit()
                assert reader.query(Clip).first() is not None
                reader.rollback()
            with session_factory(engine, read_only=read_only)() as reader:
                assert reader.query(Clip).first() is not None
        writer.add(ErrorLog(module="m", error_type="E", error_message="y"))
        writer.flush()
        writer.rollback()
        assert writer.query(ErrorLog).filter_by(module="m").count() == 0
        writer.add(ErrorLog(module="m", error_type="E", error_message="z"))
        with get_session(engine) as reader:
            assert reader.query(Clip).first() is not None
        writer.commit()
    with get_session(engine) as reader:
        assert [row.error_message for row in reader.query(ErrorLog).filter_by(module="m")] == ["z"]
