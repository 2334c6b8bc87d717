"""The sessions of one thread or task share a database in memory; those of others take turns."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shortsdb.engine import async_session_factory, create_engine, session_factory
from shortsdb.lifecycle import init_db_async
from shortsdb.models import ConfigOverride

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

INSERT = "INSERT INTO t VALUES (1)"


@pytest.fixture
def memory() -> Iterator[Engine]:
    """Return an engine on a database in memory with an empty table."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    yield engine
    engine.dispose()


def rows(connection: Connection | Session) -> int:
    return len(connection.execute(text("SELECT * FROM t")).all())


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_session_that_only_read_does_not_end_the_transaction_of_another(
    memory: Engine, end: str, *, read_only: bool
) -> None:
    with session_factory(memory)() as writer:
        writer.execute(text(INSERT))
        with session_factory(memory, read_only=read_only)() as reader:
            assert rows(reader) == 1
            getattr(reader, end)()
            assert rows(writer) == 1
        writer.rollback()
        assert rows(writer) == 0


@pytest.mark.parametrize(("end", "left"), [("commit", 1), ("rollback", 0)])
def test_a_session_that_wrote_ends_its_transaction_beside_others(
    memory: Engine, end: str, left: int
) -> None:
    with session_factory(memory)() as reader, session_factory(memory)() as writer:
        assert rows(reader) == 0
        writer.execute(text(INSERT))
        getattr(writer, end)()
        assert not writer.connection().connection.driver_connection.in_transaction  # type: ignore[union-attr]
        assert rows(reader) == left


@pytest.mark.parametrize(("end", "left"), [("commit", 1), ("rollback", 0)])
def test_what_the_driver_wrote_is_committed_or_rolled_back(
    memory: Engine, end: str, left: int
) -> None:
    with memory.connect() as connection:
        assert rows(connection) == 0
        connection.connection.cursor().execute(INSERT)
        getattr(connection, end)()
        assert not connection.connection.driver_connection.in_transaction  # type: ignore[union-attr]
        assert rows(connection) == left


def test_an_invalidated_connection_can_be_rolled_back_beside_another(memory: Engine) -> None:
    with memory.connect() as one, memory.connect() as other:
        one.execute(text("SELECT 1"))
        other.execute(text("SELECT 1"))
        other.invalidate()
        other.rollback()


def test_a_connection_that_is_returned_can_be_taken_by_another_thread(memory: Engine) -> None:
    memory.connect().close()
    taken: list[int] = []

    def take() -> None:
        with memory.connect() as connection:
            taken.append(rows(connection))

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(30)
    assert taken == [0]
    take()  # as the first thread again
    assert taken == [0, 0]


def test_a_connection_that_is_returned_is_not_shared_though_somebody_still_has_it(
    memory: Engine,
) -> None:
    returned = memory.raw_connection()
    returned.close()
    with memory.connect() as connection:
        assert rows(connection) == 0
        connection.execute(text(INSERT))
        connection.commit()
    assert not returned.is_valid


def test_a_connection_that_was_forgotten_is_rolled_back(memory: Engine) -> None:
    forgotten = memory.connect()
    forgotten.execute(text(INSERT))
    del forgotten
    gc.collect()
    with memory.connect() as connection:
        assert rows(connection) == 0


def test_a_thread_waits_for_the_session_of_another() -> None:
    engine = create_engine("sqlite://", pool_timeout=0.01)
    failed: list[str] = []

    def take() -> None:
        try:
            engine.connect()
        except PoolTimeoutError as error:
            failed.append(str(error))

    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        thread = threading.Thread(target=take)
        thread.start()
        thread.join(30)
    assert "limit of size 1 overflow 0 reached" in failed[0]
    engine.dispose()


def test_a_task_waits_for_the_session_of_another() -> None:
    async def main() -> list[str]:
        engine = await init_db_async(":memory:")
        factory = async_session_factory(engine)
        has_read, done = asyncio.Event(), []

        async def first() -> None:
            async with factory() as session:
                await session.scalars(select(ConfigOverride))
                async with factory() as shared:
                    await shared.scalars(select(ConfigOverride))
                has_read.set()
                for _ in range(100):
                    await asyncio.sleep(0)
                done.append("first")

        async def second() -> None:
            await has_read.wait()
            async with factory() as session:
                await session.scalars(select(ConfigOverride))
                done.append("second")

        await asyncio.wait_for(asyncio.gather(first(), second()), 30)
        await engine.dispose()
        return done

    assert asyncio.run(main()) == ["first", "second"]


def test_a_callback_of_the_event_loop_shares_the_connection_too(memory: Engine) -> None:
    """There is no task then, and the thread is what counts."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def callback() -> None:
            with memory.connect() as one, memory.connect() as other:
                done.set_result(
                    one.connection.driver_connection is other.connection.driver_connection
                )

        loop.call_soon(callback)
        assert await asyncio.wait_for(done, 30)

    asyncio.run(main())
