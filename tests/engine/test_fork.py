"""Engines used before a fork work in both processes: idle, in use, async, in memory."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from forked import HANG_GUARD_SECONDS, expecting, fork, in_child
from project import HELPERS
from sqlalchemy import NullPool, Pool, QueuePool, StaticPool, func, select, text
from sqlalchemy.exc import OperationalError

from shortsdb.database import init_db, init_db_async
from shortsdb.engine import (
    async_session_factory,
    create_async_engine,
    create_engine,
    session_factory,
)
from shortsdb.engine.fork import InUseAtForkError
from shortsdb.models import ConfigOverride

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgresql_server import Database
    from project import NewUrl
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

# Python 3.12 and later warn of forks in threaded processes, which are tested here.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

COUNT = select(func.count()).select_from(ConfigOverride)
ROWS = 30


@pytest.fixture
def path(head_file: Path, tmp_path: Path) -> Path:
    """Return a new SQLite file at head."""
    path = tmp_path / "forked.db"
    path.write_bytes(head_file.read_bytes())
    return path


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Return our engine, used already, on a new database of either kind."""
    engine = create_engine(url)
    assert rows(engine) == 0
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite(path: Path) -> Iterator[Engine]:
    """Return our engine, used already, on a new SQLite file."""
    engine = create_engine(path)
    assert rows(engine) == 0
    yield engine
    engine.dispose()


def rows(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(COUNT) or 0


def write(engine: Engine, name: str, number: int = ROWS) -> int:
    """Commit `number` rows, each in a new session; return the number."""
    factory = session_factory(engine)
    for i in range(number):
        with factory.begin() as session:
            session.add(ConfigOverride(key=f"{name}{i}", value="x"))
    return number


async def write_async(engine: AsyncEngine, name: str, number: int = ROWS) -> int:
    factory = async_session_factory(engine)
    for i in range(number):
        async with factory.begin() as session:
            session.add(ConfigOverride(key=f"{name}{i}", value="x"))
    return number


def echo(engine: Engine, first: int) -> bool:
    """Ask the database for numbers, each by itself; return whether it answered with those."""
    with engine.connect() as connection:
        asked = range(first, first + 300)
        return [connection.scalar(text("SELECT :n + 0"), {"n": n}) for n in asked] == list(asked)


async def echo_async(engine: AsyncEngine, first: int) -> bool:
    async with engine.connect() as connection:
        asked = range(first, first + 300)
        answers = [await connection.scalar(text("SELECT :n + 0"), {"n": n}) for n in asked]
        return answers == list(asked)


def whole(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.execute("PRAGMA integrity_check")) == [("ok",)]


# Nothing in use


def test_both_processes_write_and_read_at_once(engine: Engine) -> None:
    child = fork(lambda: (write(engine, "child"), echo(engine, 1000)))
    assert (write(engine, "parent"), echo(engine, 5000)) == (ROWS, True)
    assert child.result() == [ROWS, True]
    assert rows(engine) == 2 * ROWS


def test_a_child_of_the_child(engine: Engine) -> None:
    def work() -> object:
        write(engine, "child")
        return in_child(lambda: (write(engine, "grandchild"), echo(engine, 1))), rows(engine)

    assert in_child(work) == [[ROWS, True], 2 * ROWS]
    assert rows(engine) == 2 * ROWS


def test_an_async_engine_in_both_processes(new_url: NewUrl) -> None:
    url = new_url()
    engine = create_async_engine(url)

    async def use(name: str, first: int) -> tuple[int, bool]:
        try:
            return await write_async(engine, name), await echo_async(engine, first)
        finally:
            await engine.dispose()

    # Left in the pool, with the thread or the socket of a loop that is gone.
    assert asyncio.run(write_async(engine, "before")) == ROWS
    child = fork(lambda: asyncio.run(use("child", 1000)))
    assert asyncio.run(use("parent", 5000)) == (ROWS, True)
    assert child.result() == [ROWS, True]
    assert rows(create_engine(url, poolclass=NullPool)) == 3 * ROWS


@pytest.mark.parametrize("thread", [False, True], ids=["in the loop", "in a thread"])
def test_a_fork_while_an_event_loop_runs(new_url: NewUrl, *, thread: bool) -> None:
    url = new_url()
    engine = create_async_engine(url)

    async def use() -> tuple[int, bool]:
        try:
            return await write_async(engine, "child"), await echo_async(engine, 1)
        finally:
            await engine.dispose()

    def in_child_with_its_own_loop() -> object:
        # As CPython does in a child from 3.12 on.
        asyncio._set_running_loop(None)  # noqa: SLF001 - documented for those who write loops
        return asyncio.run(use())

    async def main() -> None:
        await write_async(engine, "before")
        child = (
            await asyncio.to_thread(fork, in_child_with_its_own_loop)
            if thread
            else fork(in_child_with_its_own_loop)
        )
        await write_async(engine, "parent")
        assert await echo_async(engine, 5000)
        assert await asyncio.to_thread(child.result) == [ROWS, True]
        await engine.dispose()

    asyncio.run(main())
    assert rows(create_engine(url, poolclass=NullPool)) == 3 * ROWS


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool, StaticPool])
def test_every_kind_of_pool_is_fork_safe(path: Path, poolclass: type[Pool]) -> None:
    engine = create_engine(path, poolclass=poolclass)
    write(engine, "before")
    child = fork(lambda: write(engine, "child"))
    write(engine, "parent")
    assert child.result() == ROWS
    assert rows(engine) == 3 * ROWS
    engine.dispose()


def test_a_connection_class_of_the_application_is_kept(path: Path) -> None:
    class Own(sqlite3.Connection):
        """A connection of the application's."""

    engine = create_engine(path, connect_args={"factory": Own})
    write(engine, "before")
    assert in_child(lambda: write(engine, "child")) == ROWS
    with engine.connect() as connection:
        assert isinstance(connection.connection.driver_connection, Own)
    assert rows(engine) == 2 * ROWS
    engine.dispose()


def test_deleted_engines_do_not_affect_a_fork(path: Path) -> None:
    engine = create_engine(path)
    write(engine, "before")
    engine.dispose()
    del engine
    other = create_engine(path)
    assert in_child(lambda: write(other, "child")) == ROWS


def test_multiprocessing(engine: Engine) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write, args=(engine, f"p{i}-")) for i in range(3)]
    for process in processes:
        process.start()
    write(engine, "parent")
    for process in processes:
        process.join(HANG_GUARD_SECONDS)
        assert process.exitcode == 0
    with context.Pool(2, initializer=_engine_of_the_pool.append, initargs=(engine,)) as pool:
        assert pool.map(_write_in_the_pool, ["a", "b"]) == [ROWS, ROWS]
    assert rows(engine) == 6 * ROWS


# Inherited: an engine cannot be sent to another process.
_engine_of_the_pool: list[Engine] = []


def _write_in_the_pool(name: str) -> int:
    return write(_engine_of_the_pool[0], name)


def test_a_subprocess_closes_no_connection(engine: Engine) -> None:
    with engine.connect() as connection:
        before = connection.connection.driver_connection
    subprocess.run([sys.executable, "-c", ""], check=True)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=print)
    process.start()
    process.join()
    with engine.connect() as connection:
        assert connection.connection.driver_connection is before


# In use at the fork


def test_a_session_is_held_on_sqlite(sqlite: Engine, path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    other_file = tmp_path / "other.db"
    other = init_db(path)  # another engine, idle
    with session_factory(sqlite).begin() as session:
        session.add(ConfigOverride(key="held", value="x"))
        session.flush()

        def work() -> bool:
            names = [path, link, f"{tmp_path}/./forked.db", f"file:{path}?uri=true"]
            engines = [sqlite, other, *map(create_engine, map(str, names[:3]))]
            engines.append(create_engine(f"sqlite:///file:{path}?uri=true"))
            engines.append(create_engine(path, poolclass=NullPool))
            for engine in engines:
                with expecting(InUseAtForkError, str(tmp_path), "before the fork"):
                    rows(engine)
            for _ in range(2):  # again, and in a child of the child
                with expecting(InUseAtForkError, str(path)):
                    session.execute(COUNT)
            assert in_child(lambda: refused(sqlite))
            with expecting(InUseAtForkError, str(path)):
                session.commit()
            session.close()
            assert refused(sqlite)
            return rows(init_db(other_file)) == 0

        assert in_child(work)
    assert rows(sqlite) == 1
    write(other, "parent")
    other.dispose()
    assert rows(sqlite) == 1 + ROWS
    assert whole(path)


def refused(engine: Engine) -> bool:
    with expecting(InUseAtForkError, "was in use when this process was forked"):
        rows(engine)
    return True


def test_an_async_session_is_held_on_sqlite(path: Path) -> None:
    engine = create_async_engine(path)

    async def refused_async(session: object) -> bool:
        with expecting(InUseAtForkError, str(path)):
            await write_async(engine, "child")
        assert refused(create_engine(path))
        async with asyncio.timeout(HANG_GUARD_SECONDS):
            with expecting(InUseAtForkError, str(path)):
                await session.execute(COUNT)  # type: ignore[attr-defined]
            await session.close()  # type: ignore[attr-defined]
        return True

    def child_of(session: object) -> bool:
        asyncio._set_running_loop(None)  # noqa: SLF001 - as above
        return asyncio.run(refused_async(session))

    async def main() -> None:
        async with async_session_factory(engine).begin() as session:
            session.add(ConfigOverride(key="held", value="x"))
            await session.flush()
            assert in_child(lambda: child_of(session))
        await write_async(engine, "parent")
        await engine.dispose()

    asyncio.run(main())
    assert rows(create_engine(path, poolclass=NullPool)) == 1 + ROWS


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_an_exiting_child_does_not_end_the_transaction_of_its_parent(
    path: Path, journal_mode: str
) -> None:
    # Its pages are in the file already, and a rollback would undo them there.
    held = HELPERS / "held_transaction.py"
    subprocess.run([sys.executable, held, str(path), journal_mode], check=True, timeout=60)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM error_logs").fetchone() == (5_000,)
    assert whole(path)


def test_a_session_is_held_on_postgresql(head_database: Database) -> None:
    database = head_database.server.create_database(head_database)
    engine = create_engine(database.url)
    backend = text("SELECT pg_backend_pid()")
    with session_factory(engine).begin() as session:
        session.add(ConfigOverride(key="held", value="x"))
        session.flush()
        before = session.scalar(backend)

        def work() -> bool:
            with expecting(OperationalError):
                session.scalar(COUNT)
            session.rollback()
            session.close()
            assert echo(engine, 1)
            return rows(engine) == 0

        assert in_child(work)
        # Writers wait for the transaction of the parent, as in any other process.
        child = fork(lambda: write(engine, "child"))
        assert session.scalar(backend) == before
    assert child.result() == ROWS
    assert rows(engine) == 1 + ROWS
    engine.dispose()
    database.server.drop_database(database)


def test_a_postgresql_session_survives_the_exit_of_a_child(head_database: Database) -> None:
    database = head_database.server.create_database(head_database)
    held = HELPERS / "held_transaction.py"
    subprocess.run([sys.executable, held, database.url, "none"], check=True, timeout=60)
    assert database.psql("SELECT count(*) FROM error_logs") == "5000\n"
    database.server.drop_database(database)


def test_a_connection_that_cannot_be_closed_counts_as_in_use(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_engine(path, connect_args={"check_same_thread": True})
    with session_factory(engine)() as session:
        session.scalar(COUNT)
    with caplog.at_level(logging.WARNING):
        thread = threading.Thread(target=lambda: results.append(in_child(lambda: refused(engine))))
        results: list[bool] = []
        thread.start()
        thread.join()
    assert results == [True]
    assert "could not be closed before a fork" in caplog.text
    assert rows(engine) == 0
    engine.dispose()


# Beside threads


def test_threads_write_while_the_process_forks(engine: Engine) -> None:
    stop = threading.Event()
    acknowledged: list[str] = []
    errors: list[Exception] = []

    def writing(name: str) -> None:
        number = 0
        try:
            while not stop.is_set():
                with session_factory(engine).begin() as session:
                    session.add(ConfigOverride(key=f"{name}-{number}", value="x"))
                acknowledged.append(f"{name}-{number}")
                number += 1
        except Exception as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    def child_of(round_: int) -> int:
        try:
            return write(engine, f"child{round_}-", 3)
        except InUseAtForkError:
            return 0

    threads = [threading.Thread(target=writing, args=(f"t{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    written = [in_child(lambda i=i: child_of(i)) for i in range(40)]  # type: ignore[misc]
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(written) <= {0, 3}
    assert rows(engine) == len(acknowledged) + sum(written)
    if engine.dialect.name == "postgresql":
        assert set(written) == {3}
    else:
        assert whole(Path(str(engine.url.database)))


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool])
def test_threads_take_connections_while_the_process_forks(
    path: Path, poolclass: type[Pool]
) -> None:
    engine = create_engine(path, poolclass=poolclass)
    stop = threading.Event()
    errors: list[Exception] = []

    def reading() -> None:
        try:
            while not stop.is_set():
                with engine.connect() as connection:
                    connection.get_execution_options()
        except Exception as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    def child_of() -> None:
        with expecting(InUseAtForkError):
            rows(engine)

    threads = [threading.Thread(target=reading) for _ in range(3)]
    for thread in threads:
        thread.start()
    with session_factory(engine)() as held:
        held.scalar(COUNT)

        def closing_what_is_held() -> None:
            # Another thread may be using the pool to which the connection returns.
            held.close()
            child_of()

        for _ in range(100):
            in_child(closing_what_is_held)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    engine.dispose()


# In memory


def test_the_child_has_a_copy_of_a_database_in_memory() -> None:
    engine = init_db(":memory:")
    write(engine, "before")

    def work() -> int:
        write(engine, "child", 5)
        return rows(engine)

    assert in_child(work) == ROWS + 5
    assert rows(engine) == ROWS
    engine.dispose()


def test_the_child_has_a_copy_of_an_async_database_in_memory() -> None:
    async def main() -> None:
        engine = await init_db_async(":memory:")
        await write_async(engine, "before")

        async def work() -> int | None:
            await write_async(engine, "child", 5)
            async with engine.connect() as connection:
                count: int | None = await connection.scalar(COUNT)
                return count

        def child() -> int | None:
            asyncio._set_running_loop(None)  # noqa: SLF001 - as above
            return asyncio.run(work())

        assert in_child(child) == ROWS + 5
        async with engine.connect() as connection:
            assert await connection.scalar(COUNT) == ROWS
        await engine.dispose()

    asyncio.run(main())


# Threads


def test_a_fork_in_another_thread_than_the_main_one(engine: Engine) -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(in_child(lambda: write(engine, "t"))))
    thread.start()
    thread.join(HANG_GUARD_SECONDS)
    assert results == [ROWS]
    assert rows(engine) == ROWS
