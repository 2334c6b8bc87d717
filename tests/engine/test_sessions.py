"""The contract of sessions: reads without a lock, the write lock, and waiting."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from scenario import IMPATIENT, KINDS, Sessions, play
from sqlalchemy import inspect, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from shortsdb.database import get_session
from shortsdb.engine import (
    async_session_factory,
    create_async_engine,
    create_engine,
    session_factory,
)
from shortsdb.models import ConfigOverride, ErrorLog, Short

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

BUSY = "database is locked|lock timeout"
UPDATE = "UPDATE config_overrides SET value = 'raw'"


@pytest.fixture(autouse=True)
def _row(url: str) -> None:
    """Put a row into the database."""
    engine = create_engine(url)
    with session_factory(engine).begin() as session:
        session.add(ConfigOverride(key="k", value="0"))
    engine.dispose()


def value(sessions: Sessions) -> str:
    with sessions.reader() as session:
        return session.get_one(ConfigOverride, "k").value


def assert_free(sessions: Sessions) -> None:
    """Check that another connection can write at once."""
    with sessions.plain() as session:
        session.execute(text("UPDATE config_overrides SET updated_by = 'another'"))
        session.rollback()


def assert_taken(sessions: Sessions) -> None:
    """Check that another connection can read but not write."""
    value(sessions)
    with sessions.plain() as session, pytest.raises(OperationalError, match=BUSY):
        # In another table, so that it is not a lock on a row that makes it wait.
        session.execute(text("DELETE FROM error_logs WHERE id < 0"))


def wait_until_one_waits(sessions: Sessions) -> None:
    """Return when a session waits for the write lock; on SQLite, which cannot tell, at once."""
    if sessions.engine.dialect.name == "sqlite":
        return
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    give_up = time.monotonic() + 30
    while True:
        with sessions.reader() as session:
            if session.scalar(waiting):
                return
        assert time.monotonic() < give_up, "nobody waits"


READS: dict[str, Callable[[Session], object]] = {
    "get": lambda s: s.get_one(ConfigOverride, "k"),
    "query": lambda s: s.query(ConfigOverride).all(),
    "text": lambda s: s.execute(text("/* why */ SELECT 1")).all(),
    "cte": lambda s: s.execute(select(select(ConfigOverride.key).cte("kept"))).all(),
    "connection": lambda s: s.connection().execute(select(ConfigOverride.key)).all(),
    "refresh": lambda s: s.refresh(s.get_one(ConfigOverride, "k")),
    "merge": lambda s: s.merge(s.get_one(ConfigOverride, "k")),
    "after commit": lambda s: (s.get_one(ConfigOverride, "k"), s.commit(), s.query(Short).all()),
    "a flush of no change": lambda s: (
        setattr(s.get_one(ConfigOverride, "k"), "value", "0"),
        s.flush(),
    ),
}
WRITES: dict[str, Callable[[Session], object]] = {
    "flush": lambda s: (setattr(s.get_one(ConfigOverride, "k"), "value", "1"), s.flush()),
    "insert": lambda s: (s.add(ConfigOverride(key="new", value="")), s.flush()),
    "insert of many in one statement": lambda s: (
        s.add_all(ErrorLog(module="m", error_type="t", error_message="e") for _ in range(2)),
        s.flush(),
    ),
    "delete": lambda s: (s.delete(s.get_one(ConfigOverride, "k")), s.flush()),
    "merge": lambda s: (s.merge(ConfigOverride(key="k", value="1")), s.flush()),
    "bulk update": lambda s: s.execute(update(ConfigOverride).values(value="1")),
    "legacy bulk update": lambda s: s.query(ConfigOverride).update({"value": "1"}),
    "text": lambda s: s.execute(text(UPDATE)),
    "text with a comment": lambda s: s.execute(text(f"-- why\n/* SELECT */ {UPDATE}")),
    "with": lambda s: s.execute(
        text(
            "WITH new AS (SELECT 'raw' AS v) "
            "UPDATE config_overrides SET value = (SELECT v FROM new)"
        )
    ),
    "connection": lambda s: s.connection().exec_driver_sql(UPDATE),
    "savepoint": lambda s: (s.begin_nested(), s.query(Short).all()),
    "raw savepoint": lambda s: s.execute(text("SAVEPOINT here")),
    "for update": lambda s: s.get_one(ConfigOverride, "k", with_for_update=True),
    "for update as text": lambda s: s.execute(
        text("SELECT key FROM config_overrides FOR NO KEY UPDATE")
        if s.get_bind().dialect.name == "postgresql"
        else select(ConfigOverride.key).with_for_update()  # SQLite has no such text
    ),
    "ddl": lambda s: s.execute(text("CREATE TABLE made (x INTEGER)")),
}


@KINDS
@pytest.mark.parametrize("what", READS)
def test_a_read_takes_no_lock(url: str, kind: str, what: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            READS[what](session)
            assert_free(sessions)

    play(kind, url, scenario, pragmas=IMPATIENT)


@KINDS
@pytest.mark.parametrize("what", WRITES)
def test_a_write_takes_the_lock_and_is_one_transaction(url: str, kind: str, what: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            session.get_one(ConfigOverride, "k")
            WRITES[what](session)
            assert_taken(sessions)
            assert value(sessions) == "0"
            session.rollback()
            assert_free(sessions)
        assert value(sessions) == "0"
        assert not inspect(sessions.engine).has_table("made")
        with sessions.plain() as session:
            WRITES[what](session)
            session.commit()
            assert_free(sessions)

    play(kind, url, scenario, pragmas=IMPATIENT)


@KINDS
def test_all_after_the_first_write_is_one_transaction(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            session.add(ConfigOverride(key="one", value=""))
            session.flush()
            assert session.scalars(select(ConfigOverride.key)).all() == ["k", "one"]
            session.execute(text("INSERT INTO config_overrides (key, value) VALUES ('two', '')"))
        with sessions.reader() as session:
            assert session.scalars(select(ConfigOverride.key)).all() == ["k"]

    play(kind, url, scenario)


@KINDS
def test_a_savepoint_rolls_back_alone(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            with pytest.raises(IntegrityError), session.begin_nested():
                session.add(Short(pipeline_run_id=77))
            assert_taken(sessions)  # rolling back to a savepoint does not give the lock away
            session.add(ConfigOverride(key="kept", value=""))
            session.commit()
        with sessions.reader() as session:
            assert session.get(ConfigOverride, "kept") is not None

    play(kind, url, scenario, pragmas=IMPATIENT)


@KINDS
def test_an_explicit_transaction_takes_the_lock_first(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            with session.begin():
                session.get_one(ConfigOverride, "k")
                assert_taken(sessions)
            assert_free(sessions)
            session.get_one(ConfigOverride, "k")  # no explicit one any more
            assert_free(sessions)
        with sessions.engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            assert_taken(sessions)
        with sessions.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            assert_free(sessions)
            connection.rollback()
            with connection.begin():
                connection.execute(text("SELECT 1"))
                assert_taken(sessions)
        with sessions.engine.begin() as connection, Session(connection) as session:
            session.get_one(ConfigOverride, "k")
            assert_taken(sessions)
        with Session(sessions.engine) as session, session.begin():
            session.get_one(ConfigOverride, "k")
            assert_taken(sessions)
        with Session(sessions.engine) as session:
            session.get_one(ConfigOverride, "k")
            assert_free(sessions)

    play(kind, url, scenario, pragmas=IMPATIENT)


def test_async_interfaces_take_the_lock_first_too(url: str) -> None:
    impatient = create_engine(url, pragmas=IMPATIENT)
    others = Sessions(
        impatient, session_factory(impatient), session_factory(impatient, read_only=True)
    )

    async def main() -> None:
        engine = create_async_engine(url)
        factory = async_session_factory(engine)
        async with factory.begin() as session:
            await session.get_one(ConfigOverride, "k")
            assert_taken(others)
        async with factory() as session, session.begin():
            await session.get_one(ConfigOverride, "k")
            assert_taken(others)
        async with engine.begin() as connection:
            await connection.execute(text("SELECT 1"))
            assert_taken(others)
        async with factory() as session, engine.connect() as connection:
            await session.get_one(ConfigOverride, "k")
            await connection.execute(text("SELECT 1"))
            assert_free(others)
        await engine.dispose()

    asyncio.run(main())
    impatient.dispose()


@KINDS
def test_rows_read_in_an_explicit_transaction_cannot_change(url: str, kind: str) -> None:
    """Both decide on rows they read: the second waits for the first and sees its changes."""

    def open_one(sessions: Sessions) -> None:
        with sessions.plain() as session, session.begin():
            if session.get(ConfigOverride, "open") is None:
                session.add(ConfigOverride(key="open", value="by the second"))

    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session, session.begin():
            assert session.get(ConfigOverride, "open") is None
            with ThreadPoolExecutor(1) as impatient, pytest.raises(OperationalError, match=BUSY):
                impatient.submit(play, kind, url, open_one, pragmas=IMPATIENT).result(30)
            other = threading.Thread(target=play, args=(kind, url, open_one), daemon=True)
            other.start()
            wait_until_one_waits(sessions)
            session.add(ConfigOverride(key="open", value="by the first"))
        other.join(30)
        assert not other.is_alive()
        with sessions.reader() as session:
            assert session.get_one(ConfigOverride, "open").value == "by the first"

    play(kind, url, scenario)


@KINDS
def test_a_read_only_session_reads_one_snapshot(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.reader() as reader:
            keys = select(ConfigOverride.key).order_by(ConfigOverride.key)
            assert reader.scalars(keys).all() == ["k"]
            with sessions.plain() as writer:
                writer.add(ConfigOverride(key="new", value=""))
                writer.flush()
                assert reader.scalars(keys).all() == ["k"]  # without waiting
                writer.commit()  # nor does the writer
            assert reader.scalars(keys).all() == ["k"]
            reader.rollback()
            assert reader.scalars(keys).all() == ["k", "new"]

    play(kind, url, scenario, pragmas=IMPATIENT)


def test_fifty_tasks_that_read_wait_and_write(url: str) -> None:
    """With a lock from the first read on, they would take 50 times the time to think."""
    engine = create_engine(url)
    with session_factory(engine).begin() as session:
        session.add_all(ConfigOverride(key=f"task {n}", value="0") for n in range(50))
    engine.dispose()

    async def main() -> None:
        engine = create_async_engine(url)
        factory = async_session_factory(engine)
        # As many as the pool has connections: a session keeps its own.
        at_once = 50 if engine.dialect.name == "sqlite" else 15
        everybody_has_read = asyncio.Barrier(at_once)

        async def task(number: int) -> None:
            async with factory() as session:
                row = await session.get_one(ConfigOverride, f"task {number}")
                if number < at_once:
                    await everybody_has_read.wait()
                row.value = "1"
                await session.commit()

        await asyncio.wait_for(asyncio.gather(*map(task, range(50))), 30)
        async with factory() as session:
            rows = await session.scalars(
                select(ConfigOverride.value).where(ConfigOverride.key.like("task %"))
            )
            assert rows.all() == ["1"] * 50
        await engine.dispose()

    asyncio.run(main())


@pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)
def test_deployed_code_can_write_while_a_session_reads(url: str) -> None:
    engine = create_engine(url)
    with (
        get_session(engine) as session,
        closing(sqlite3.connect(str(engine.url.database), timeout=0)) as deployed,
    ):
        session.query(ConfigOverride).all()
        session.commit()
        session.query(ConfigOverride).all()
        deployed.execute(UPDATE)
        deployed.commit()
        session.rollback()
        assert session.get_one(ConfigOverride, "k").value == "raw"
    engine.dispose()


@pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)
def test_waiting_for_the_lock_keeps_the_callers_timeout(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '7s'"))
        assert connection.scalar(text("SHOW lock_timeout")) == "7s"
        connection.execute(text(UPDATE))
        assert connection.scalar(text("SHOW lock_timeout")) == "7s"
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '7s'"))
        connection.execute(text(UPDATE))
        assert connection.scalar(text("SHOW lock_timeout")) == "7s"
        connection.commit()  # the next transaction, which behind a pooler may be anybody's
        assert connection.scalar(text("SHOW lock_timeout")) == "0"
    engine.dispose()


@pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)
def test_schemas_of_one_database_have_a_lock_each(url: str) -> None:
    def engine_of(schema: str) -> Engine:
        return create_engine(
            url, pragmas=IMPATIENT, connect_args={"options": f"-c search_path={schema}"}
        )

    one, other = engine_of("public"), engine_of("elsewhere")
    with one.begin() as connection:
        connection.execute(text("CREATE SCHEMA elsewhere"))
    with one.begin() as first, other.begin() as second:
        first.execute(text("SELECT 1"))
        second.execute(text("SELECT 1"))
    one.dispose()
    other.dispose()
