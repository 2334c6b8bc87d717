"""What a fork does to the connections and the pool of an engine, looked at one by one."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import threading
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from forked import HANG_GUARD_SECONDS, expecting, in_child
from sqlalchemy import NullPool, QueuePool, StaticPool, text

from shortsdb.engine import create_async_engine, create_engine, fork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Database
    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

# Python 3.12 and later warn of forks in threaded processes, which are tested here.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

ONE = text("SELECT 1")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Return our engine on a new SQLite file."""
    engine = create_engine(tmp_path / "x.db")
    yield engine
    engine.dispose()


def one(engine: Engine) -> object:
    with engine.connect() as connection:
        return connection.scalar(ONE)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("x.db", "{}/x.db"),
        ("file:x.db", "{}/x.db"),
        ("/a?b%20c", "/a?b%20c"),
        ("file:/a%20b%3Fc?mode=ro", "/a b?c"),
        ("file:///a/../b", "/b"),
        ("file:x?mode=memory&cache=shared", ""),
        ("file::memory:", ""),
        (":memory:", ""),
        ("", ""),
    ],
)
def test_the_file_that_a_name_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fork._path(given) == path.format(tmp_path)  # noqa: SLF001 - of each form


class Watched(sqlite3.Connection):
    """Notes whether a fork had to wait when the connection was opened, counted or forgotten."""

    held: ClassVar[list[bool]] = []

    def __setattr__(self, name: str, value: object) -> None:
        """Note when it is opened, and its users are counted."""
        if name in {"file", "users"}:
            self.held.append(fork._lock._is_owned())  # type: ignore[attr-defined] # noqa: SLF001 - nothing else shows it
        super().__setattr__(name, value)

    def __hash__(self) -> int:
        """Note when it enters or leaves the set of open connections."""
        self.held.append(fork._lock._is_owned())  # type: ignore[attr-defined] # noqa: SLF001 - as above
        return super().__hash__()


def test_a_fork_waits_while_a_connection_is_opened_counted_or_closed(tmp_path: Path) -> None:
    engine = create_engine(tmp_path / "x.db", connect_args={"factory": Watched}, poolclass=NullPool)
    assert one(engine) == 1
    assert len(Watched.held) >= 5
    assert all(Watched.held)
    assert fork._counted(Watched) is fork._counted(Watched)  # noqa: SLF001 - a class is never freed


def test_an_idle_connection_is_closed_before_a_fork(engine: Engine) -> None:
    with engine.connect() as connection:
        idle: Any = connection.connection.driver_connection
    assert in_child(lambda: one(engine)) == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        idle.execute("SELECT 1")
    assert one(engine) == 1


def test_an_idle_async_connection_is_closed_before_a_fork_and_its_thread_ends(
    tmp_path: Path,
) -> None:
    engine = create_async_engine(tmp_path / "x.db")

    async def connection_of_driver() -> Any:  # noqa: ANN401 - aiosqlite's
        async with engine.connect() as connection:
            return (await connection.get_raw_connection()).driver_connection

    before = set(threading.enumerate())
    idle = asyncio.run(connection_of_driver())
    (thread,) = set(threading.enumerate()) - before
    busy = threading.Event()
    idle._tx.put_nowait((None, busy.wait))  # noqa: SLF001 - it may not have ended yet
    assert in_child(lambda: 1) == 1
    asyncio.run(asyncio.wait_for(idle.close(), 10))
    busy.set()
    thread.join(10)
    assert not thread.is_alive()
    asyncio.run(engine.dispose())


def test_an_invalidated_connection_is_not_in_use(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.invalidate()
    assert in_child(lambda: one(engine)) == 1


def test_a_connection_is_in_use_until_its_last_user_returns_it(tmp_path: Path) -> None:
    engine = create_engine(tmp_path / "x.db", poolclass=StaticPool)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
        engine.connect().close()
        held: Any = connection.connection.driver_connection

        def work() -> object:
            with expecting(fork.InUseAtForkError):
                held.execute("SELECT 1")
            return held.usable

        assert in_child(work) is False
        assert connection.scalar(ONE) == 1
    engine.dispose()


def test_a_connection_in_use_can_only_be_given_up_in_the_child(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
        held: Any = connection.connection.driver_connection

        def work() -> object:
            used = ("cursor", "execute", "executemany", "executescript", "commit", "blobopen")
            for name in (*used, "backup"):
                with expecting(fork.InUseAtForkError):
                    getattr(held, name)()
            held.rollback()
            held.close()
            return held.in_transaction, held.usable, len(fork._open)  # noqa: SLF001 - of the parent

        assert in_child(work) == [True, False, 0]
        connection.commit()


def test_work_for_a_thread_that_is_gone_is_done_at_once() -> None:
    done: list[int] = []
    queue = fork._NoThread()  # noqa: SLF001 - takes what aiosqlite gives
    queue.put_nowait((None, lambda: done.append(1)))
    queue.put_nowait((None, lambda: 1 // 0))
    assert done == [1]


class Noting(QueuePool):
    """A pool that notes what returns to it and when it is closed."""

    noted: ClassVar[list[str]] = []

    def dispose(self) -> None:
        """Note that it is closed."""
        self.noted.append("dispose")
        super().dispose()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self.noted.append("return")
        super()._do_return_conn(record)


def test_the_child_has_a_new_pool_and_does_not_use_the_old_one(tmp_path: Path) -> None:
    """Another thread of the parent may have held its lock."""
    engine = create_engine(tmp_path / "x.db", poolclass=Noting)
    pool, connection = engine.pool, engine.connect()
    Noting.noted.clear()

    def work() -> object:
        connection.close()
        return Noting.noted, engine.pool is pool

    assert in_child(work) == [[], False]
    connection.close()
    engine.dispose()
    assert Noting.noted == ["return", "dispose"]


# PostgreSQL


def test_a_socket_is_cut_off_in_the_child_and_not_closed(target: Database) -> None:
    engine = create_engine(target.url)
    raw = engine.raw_connection()
    closed: Any = raw.driver_connection  # has no descriptor
    raw.invalidate()
    assert closed.closed
    pool = engine.pool
    with engine.connect() as connection:
        connection.execute(ONE)
        held: Any = connection.connection.driver_connection

        def work() -> object:
            held.rollback()
            held.close()
            return held.closed, os.get_inheritable(held.fileno()), engine.pool is pool

        assert in_child(work) == [False, False, False]
        assert connection.scalar(ONE) == 1
    engine.dispose()


def test_a_socket_of_an_event_loop_is_cut_off_and_not_closed(target: Database) -> None:
    async def main() -> None:
        engine = create_async_engine(target.url)
        async with engine.connect() as connection:
            await connection.execute(ONE)
            held: Any = (await connection.get_raw_connection()).driver_connection

            async def work() -> object:
                await held.rollback()
                await held.close()
                return held.closed

            def child() -> object:
                # As CPython does in a child from 3.12 on.
                asyncio._set_running_loop(None)  # noqa: SLF001 - documented for those who write loops
                return asyncio.run(asyncio.wait_for(work(), HANG_GUARD_SECONDS))

            assert in_child(child) is False
            assert await connection.scalar(ONE) == 1
        await engine.dispose()

    asyncio.run(main())


def test_nothing_is_said_to_be_left_open_in_the_child(target: Database) -> None:
    engine = create_engine(target.url)
    engine.connect().close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)

        def work() -> object:
            gc.collect()
            said = [str(warning.message) for warning in caught]
            return [text for text in said if "socket" in text or "psycopg" in text]

        assert in_child(work) == []
    engine.dispose()
