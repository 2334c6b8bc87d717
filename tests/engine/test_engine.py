"""Engines and sessions: no lost update, no "database is locked", read-only, both drivers."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from alembic import command
from project import HELPERS
from sqlalchemy import Engine, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    MissingGreenlet,
    OperationalError,
)

from shortsdb.engine import (
    ReadOnlyError,
    async_session_factory,
    create_async_engine,
    create_engine,
    session_factory,
)
from shortsdb.lifecycle import init_db, init_db_async
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import ConfigOverride, PipelineRun, Short

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Server
    from sqlalchemy import PoolProxiedConnection
    from sqlalchemy.ext.asyncio import AsyncSession

COUNTING = HELPERS / "increment_worker.py"
SETTINGS = {
    "busy_timeout": 30_000,
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "foreign_keys": 1,
    "query_only": 0,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a new file at head with a counter that stands at 0."""
    path = tmp_path / "counter.db"
    engine = init_db(path)
    with session_factory(engine).begin() as session:
        session.add(ConfigOverride(key="counter", value="0"))
    engine.dispose()
    return path


@pytest.fixture
def ours(path: Path) -> Iterator[Engine]:
    """Return our engine on that file."""
    engine = create_engine(path)
    yield engine
    engine.dispose()


def counter(engine: Engine) -> int:
    with session_factory(engine, read_only=True)() as session:
        return int(session.get_one(ConfigOverride, "counter").value)


def start(
    path: Path, kind: str, processes: int, threads: int, times: int
) -> list[subprocess.Popen[str]]:
    """Start counting processes and return them when all are ready to count."""
    arguments = [sys.executable, str(COUNTING), str(path), kind, str(threads), str(times)]
    started = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return started


def let_go(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def finish(processes: list[subprocess.Popen[str]]) -> tuple[int, int]:
    """Wait for all and return how many increments were committed and how many were locked."""
    committed = locked = 0
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0
        numbers = output.split()
        committed += int(numbers[0])
        locked += int(numbers[1])
    return committed, locked


def test_concurrent_threads_lose_no_update_and_readers_do_not_wait(
    path: Path, ours: Engine
) -> None:
    counting = start(path, "shortsdb", processes=8, threads=2, times=25)
    # 0: a reader that had to wait for a lock would raise at once.
    reader = create_engine(path, pragmas={"busy_timeout": 0})
    let_go(counting)
    seen = []
    while any(process.poll() is None for process in counting):
        seen.append(counter(reader))
    reader.dispose()
    assert finish(counting) == (400, 0)
    assert counter(ours) == 400
    assert seen == sorted(seen)
    assert len(set(seen)) > 1  # it did read in between


def test_default_sqlalchemy_silently_loses_updates(path: Path, ours: Engine) -> None:
    """The control: without IMMEDIATE, transactions fail."""
    counting = start(path, "sqlalchemy", processes=4, threads=1, times=100)
    let_go(counting)
    committed, locked = finish(counting)
    assert committed + locked == 400
    assert counter(ours) < committed


def test_a_plain_begin_raises_database_is_locked(path: Path, ours: Engine) -> None:
    """The other control."""
    counting = start(path, "deferred", processes=4, threads=1, times=100)
    let_go(counting)
    committed, locked = finish(counting)
    assert committed + locked == 400
    assert locked > 0
    assert counter(ours) == committed


@pytest.mark.parametrize(
    ("place", "one_session"),
    [("file", False), ("file", True), ("memory", False)],
    ids=["new sessions", "kept sessions", "in memory"],
)
def test_async_tasks_lose_no_update(path: Path, place: str, *, one_session: bool) -> None:
    async def increment(session: AsyncSession) -> None:
        async with session.begin():
            row = await session.get_one(ConfigOverride, "counter")
            row.value = str(int(row.value) + 1)

    async def main() -> int:
        engine = await init_db_async(path if place == "file" else ":memory:")
        factory = async_session_factory(engine)
        async with factory.begin() as session:
            await session.merge(ConfigOverride(key="counter", value="0"))

        async def task() -> None:
            if one_session:
                async with factory() as session:
                    for _ in range(40):
                        await increment(session)
            else:
                for _ in range(40):
                    async with factory() as session:
                        await increment(session)

        await asyncio.gather(*(task() for _ in range(50)))
        async with factory() as session:
            value = (await session.get_one(ConfigOverride, "counter")).value
        await engine.dispose()
        return int(value)

    before = set(threading.enumerate())
    assert asyncio.run(main()) == 2000
    # Each connection had a thread, which has been asked to end.
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(30)
    assert not any(thread.is_alive() for thread in left)


def test_a_cancelled_read_leaves_a_connection_that_writes(path: Path, ours: Engine) -> None:
    async def main() -> None:
        engine = create_async_engine(path, pool_size=1, max_overflow=0)
        reader = async_session_factory(engine, read_only=True)

        async def read() -> None:
            async with reader() as session:
                await session.get_one(ConfigOverride, "counter")

        for turns in range(150):  # of the event loop, before the read is cancelled
            task = asyncio.create_task(read())
            for _ in range(turns % 30):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            async with async_session_factory(engine).begin() as session:
                (await session.get_one(ConfigOverride, "counter")).value = str(turns)
        await engine.dispose()

    asyncio.run(main())
    assert counter(ours) == 149


def test_an_engine_keeps_its_file_when_the_process_changes_its_folder(
    path: Path, ours: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    engine = create_engine(path.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for _ in range(2):
        assert counter(engine) == counter(ours)
    engine.dispose()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_engine_follows_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    for number, name in enumerate(("old.db", "new.db")):
        engine = init_db(tmp_path / name)
        with session_factory(engine).begin() as session:
            session.add(ConfigOverride(key="counter", value=str(number)))
        engine.dispose()
    link.symlink_to("old.db")
    engine = create_engine(link)
    assert counter(engine) == 0
    (tmp_path / "other.db").symlink_to("new.db")
    (tmp_path / "other.db").replace(link)
    assert counter(engine) == 1
    engine.dispose()


def settings(dbapi_connection: PoolProxiedConnection) -> dict[str, Any]:
    cursor = dbapi_connection.cursor()
    found = {}
    for name in SETTINGS:
        cursor.execute(f"PRAGMA {name}")
        (found[name],) = cursor.fetchone() or (None,)
    cursor.close()
    return found


def test_every_connection_is_configured_including_pooled_ones(ours: Engine) -> None:
    for _ in range(2):
        connections = [ours.raw_connection() for _ in range(3)]
        assert [settings(connection) for connection in connections] == [SETTINGS] * 3
        for connection in connections:
            connection.close()


def test_every_async_connection_is_configured_including_pooled_ones(path: Path) -> None:
    async def main() -> None:
        engine = create_async_engine(path)
        for _ in range(2):
            connections = [await engine.connect() for _ in range(3)]
            for connection in connections:
                assert await connection.run_sync(lambda sync: settings(sync.connection)) == SETTINGS
                with pytest.raises(IntegrityError, match="FOREIGN KEY"):
                    await connection.execute(
                        text("INSERT INTO shorts (pipeline_run_id) VALUES (9)")
                    )
                await connection.close()
        await engine.dispose()

    asyncio.run(main())


def test_pragmas_can_be_overridden(tmp_path: Path) -> None:
    engine = create_engine(tmp_path / "x.db", pragmas={"synchronous": "NORMAL", "busy_timeout": 7})
    with engine.connect() as connection:
        assert settings(connection.connection) == SETTINGS | {"synchronous": 1, "busy_timeout": 7}
    engine.dispose()


def test_many_processes_set_wal_mode_on_a_new_file(tmp_path: Path) -> None:
    """SQLite itself answers most of these "database is locked" without waiting."""
    for number in range(40):
        file = tmp_path / f"{number}.db"
        plain = sqlalchemy.create_engine(f"sqlite:///{file}")
        with plain.begin() as connection:
            connection.execute(text("CREATE TABLE t (x)"))
        plain.dispose()
        engines = [create_engine(file) for _ in range(8)]
        barrier = threading.Barrier(len(engines))
        modes: list[str] = []

        def connect(
            engine: Engine, barrier: threading.Barrier = barrier, modes: list[str] = modes
        ) -> None:
            barrier.wait()
            with engine.connect() as connection:
                modes.append(settings(connection.connection)["journal_mode"])

        threads = [threading.Thread(target=connect, args=(engine,)) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for engine in engines:
            engine.dispose()
        assert modes == ["wal"] * 8


def test_an_impossible_journal_mode_raises(path: Path, ours: Engine) -> None:
    with ours.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.rollback()
        other = create_engine(path, pragmas={"journal_mode": "DELETE"})
        with pytest.raises(OperationalError, match="database is locked"):
            other.connect()
        other.dispose()


@pytest.mark.parametrize("place", ["file", "memory"])
def test_a_read_only_session_cannot_write_and_leaves_no_trace(path: Path, place: str) -> None:
    engine = init_db(path if place == "file" else ":memory:")
    readers = session_factory(engine, read_only=True)
    with readers() as session:
        with pytest.raises(ReadOnlyError, match=r"a read-only session cannot write: DELETE"):
            session.execute(text("DELETE FROM config_overrides"))
        session.rollback()
        session.add(ConfigOverride(key="k", value="v"))
        with pytest.raises(ReadOnlyError, match="INSERT INTO config_overrides"):
            session.commit()
        session.rollback()
        session.execute(text("SELECT 1 FROM clips"))
    connection = engine.raw_connection()
    assert settings(connection)["query_only"] == 0
    connection.close()
    with session_factory(engine).begin() as session:
        session.add(ConfigOverride(key="k", value="v"))
    with readers() as session:
        assert session.get_one(ConfigOverride, "k").value == "v"
    engine.dispose()


def test_a_read_only_session_that_is_never_closed_leaves_no_trace(ours: Engine) -> None:
    def ask() -> None:
        session = session_factory(ours, read_only=True)()
        assert session.scalar(text("SELECT 1")) == 1

    ask()
    gc.collect()
    with session_factory(ours).begin() as session:
        session.get_one(ConfigOverride, "counter").value = "1"
    assert counter(ours) == 1


def test_a_read_only_async_session_cannot_write_and_leaves_no_trace(path: Path) -> None:
    async def main() -> None:
        engine = create_async_engine(path, pool_size=1, max_overflow=0)
        async with async_session_factory(engine, read_only=True)() as session:
            with pytest.raises(ReadOnlyError, match="a read-only session cannot write: DELETE"):
                await session.execute(text("DELETE FROM config_overrides"))
        async with async_session_factory(engine).begin() as session:
            await session.execute(text("DELETE FROM config_overrides"))
        await engine.dispose()

    asyncio.run(main())


def test_a_read_only_file_raises_another_error_than_a_read_only_session(path: Path) -> None:
    engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    with (
        session_factory(engine)() as session,
        pytest.raises(OperationalError, match="readonly database"),
    ):
        session.execute(text("DELETE FROM config_overrides"))
    engine.dispose()


def test_a_reader_sees_the_snapshot_of_its_first_read(ours: Engine) -> None:
    with session_factory(ours)() as writer, session_factory(ours, read_only=True)() as reader:
        writer.get_one(ConfigOverride, "counter").value = "1"
        writer.flush()
        assert reader.get_one(ConfigOverride, "counter").value == "0"
        writer.commit()
        reader.expire_all()
        assert reader.get_one(ConfigOverride, "counter").value == "0"
        reader.rollback()
        assert reader.get_one(ConfigOverride, "counter").value == "1"


def test_a_second_writer_waits_and_fails_after_the_timeout(path: Path, ours: Engine) -> None:
    impatient = create_engine(path, pragmas={"busy_timeout": 1})
    with session_factory(ours).begin() as writer:
        writer.get_one(ConfigOverride, "counter")  # reading is enough
        with (
            pytest.raises(OperationalError, match="database is locked"),
            session_factory(impatient).begin() as session,
        ):
            session.get(ConfigOverride, "counter")
    impatient.dispose()


def test_savepoints_in_memory() -> None:
    engine = init_db(":memory:")
    use_savepoints(engine)
    engine.dispose()


def test_savepoints(url: str) -> None:
    engine = create_engine(url)
    use_savepoints(engine)
    engine.dispose()


def use_savepoints(engine: Engine) -> None:
    with session_factory(engine)() as session:
        session.add(ConfigOverride(key="kept", value=""))
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add(Short(pipeline_run_id=77))
        with session.begin_nested():
            session.add(ConfigOverride(key="kept too", value=""))
        session.commit()
        keys = session.scalars(sqlalchemy.select(ConfigOverride.key)).all()
        assert {"kept", "kept too"} <= set(keys)
        assert session.scalars(sqlalchemy.select(Short)).all() == []


def test_async_savepoints(url: str) -> None:
    async def main() -> None:
        engine = create_async_engine(url)
        async with async_session_factory(engine)() as session:
            session.add(ConfigOverride(key="kept", value=""))
            with pytest.raises(IntegrityError):
                async with session.begin_nested():
                    session.add(Short(pipeline_run_id=77))
            await session.commit()
            assert await session.get(ConfigOverride, "kept") is not None
        await engine.dispose()

    asyncio.run(main())


def test_autocommit_engines_are_not_changed(ours: Engine) -> None:
    with ours.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM"))
    with session_factory(ours)() as session:
        session.get_one(ConfigOverride, "counter").value = "1"
        session.flush()
        session.rollback()
    assert counter(ours) == 0


def test_threads_take_turns_on_a_database_in_memory() -> None:
    engine = init_db(":memory:")
    factory = session_factory(engine)
    with factory.begin() as session:
        session.add(ConfigOverride(key="counter", value="0"))

    def task() -> None:
        for _ in range(50):
            with factory.begin() as session:
                row = session.get_one(ConfigOverride, "counter")
                row.value = str(int(row.value) + 1)

    threads = [threading.Thread(target=task) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter(engine) == 400
    engine.dispose()


def test_a_pool_of_the_callers_own_in_memory() -> None:
    engine = create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool)
    assert isinstance(engine.pool, sqlalchemy.pool.StaticPool)
    engine.dispose()


def test_a_relationship_that_is_not_loaded_raises_in_async_sessions(url: str) -> None:
    async def main() -> None:
        engine = create_async_engine(url)
        moment = sqlalchemy.func.current_timestamp()
        async with async_session_factory(engine)() as session:
            session.add(PipelineRun(niche="n", cycle_start=moment, cycle_end=moment))
            await session.commit()
        async with async_session_factory(engine)() as session:
            run = await session.get_one(PipelineRun, 1)
            with pytest.raises(MissingGreenlet, match="is not loaded"):
                _ = run.clips
            assert await session.run_sync(lambda _: run.clips) == []
            with pytest.raises(MissingGreenlet, match="is not loaded"):
                _ = run.shorts
            await session.refresh(run, ["shorts"])
            assert run.shorts == []
            await session.commit()
            assert run.niche == "n"
        await engine.dispose()

    asyncio.run(main())


def test_the_database_is_named_by_argument_environment_or_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert create_engine().url.database == str(tmp_path / "shortsdb.db")
    assert create_async_engine().url.database == str(tmp_path / "shortsdb.db")
    monkeypatch.setenv("SHORTSDB_URL", "sqlite+aiosqlite:///env.db")
    assert str(create_engine().url) == f"sqlite:///{tmp_path}/env.db"
    assert str(create_async_engine().url) == f"sqlite+aiosqlite:///{tmp_path}/env.db"
    strange = tmp_path / "a?b%c.db"
    for engine in (create_engine(strange), create_engine(str(strange))):
        assert engine.url.database == str(strange)
    x = create_async_engine("sqlite:///x.db")
    assert str(x.url) == f"sqlite+aiosqlite:///{tmp_path}/x.db"
    postgres = "postgresql+psycopg://u@h/d"
    assert create_engine(postgres).dialect.is_async is False
    assert create_async_engine(postgres).dialect.is_async is True


def test_a_malformed_url_is_refused_and_its_password_never_shown() -> None:
    password = str(10**9 + 7)
    with pytest.raises(ArgumentError, match="is malformed") as caught:
        create_engine(f"postgresql://user:{password}@host:port/x")
    assert password not in "".join(traceback.format_exception(caught.value))


def test_the_engine_needs_neither_alembic_nor_greenlet() -> None:
    script = (
        "import sys; sys.modules['greenlet'] = None; sys.modules['alembic'] = None\n"
        "import shortsdb.database as d\n"
        "from shortsdb.engine import create_engine\n"
        "d.get_session(create_engine('sqlite://')).connection().close()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_read_only_sessions_on_postgresql(postgres: Server) -> None:
    database = postgres.create_database()
    command.upgrade(alembic_config(database.url), "head")
    engine = create_engine(database.url)
    with session_factory(engine, read_only=True)() as session:
        assert session.scalars(sqlalchemy.select(ConfigOverride)).all() == []
        with pytest.raises(DBAPIError, match="read-only transaction"):
            session.execute(text("DELETE FROM config_overrides"))
    with session_factory(engine).begin() as session:
        session.add(ConfigOverride(key="k", value="v"))
    engine.dispose()

    async def main() -> None:
        engine = create_async_engine(database.url)
        async with async_session_factory(engine, read_only=True)() as session:
            assert (await session.get_one(ConfigOverride, "k")).value == "v"
            with pytest.raises(DBAPIError, match="read-only transaction"):
                await session.execute(text("DELETE FROM config_overrides"))
        await engine.dispose()

    asyncio.run(main())
