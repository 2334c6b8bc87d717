"""init_db passes the schema on, opens nothing without need, and closes what a failure leaves."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Integer, QueuePool, Table, event, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shortsdb import lifecycle
from shortsdb.database import Base, ConfigOverride, get_session, get_session_async, init_db
from shortsdb.engine import create_engine, fork
from shortsdb.lifecycle import init_db_async

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database
    from sqlalchemy import Engine


def idle(engine: Engine) -> int:
    """Return how many connections the pool of an engine keeps open."""
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedin()


def test_the_tables_are_in_the_schema_that_is_given(target: Database) -> None:
    engine = init_db(target.url, schema="one")
    with get_session(engine) as session:
        assert session.scalars(select(ConfigOverride)).all() == []
    engine.dispose()

    async def main() -> None:
        engine = await init_db_async(target.url, schema="two")
        async with get_session_async(engine) as session:
            assert (await session.scalars(select(ConfigOverride))).all() == []
        await engine.dispose()

    asyncio.run(main())
    schemas = "SELECT schemaname FROM pg_tables WHERE tablename = 'clips' ORDER BY 1"
    assert target.psql(schemas) == "one\ntwo\n"


def test_without_tables_of_an_application_no_connection_is_opened(tmp_path: Path) -> None:
    engine = init_db(tmp_path / "x.db")
    assert idle(engine) == 0
    engine.dispose()


def test_one_upgrade_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    locked = lifecycle._upgrading.locked  # noqa: SLF001 - nothing else shows it for certain
    monkeypatch.setattr("alembic.command.upgrade", lambda *_: seen.append(locked()))
    lifecycle.upgrade(url="x.db")
    assert (seen, locked()) == ([True], False)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_failure_closes_the_connections(tmp_path: Path, error: type[BaseException]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    path = tmp_path / "x.db"
    table = Table("broken", Base.metadata, Column("id", Integer, primary_key=True))
    event.listen(table, "before_create", fail)
    try:
        with pytest.raises(error) as caught:
            init_db(path)
    finally:
        Base.metadata.remove(table)
    opened = [each.path for each in fork._open]  # noqa: SLF001 - the open files of all engines
    assert str(path) not in opened
    assert caught.tb is not None  # holds the engine


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
def test_a_failure_ends_the_thread_of_an_async_connection(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    async def fail(_: object) -> object:
        raise error

    monkeypatch.setattr(AsyncConnection, "get_raw_connection", fail)
    before = set(threading.enumerate())
    with pytest.raises(error):
        asyncio.run(init_db_async(":memory:"))
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)


def test_the_database_in_memory_that_is_copied_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Engine] = []
    really = lifecycle.init_db

    def note(place: Any) -> Engine:  # noqa: ANN401 - as given
        made.append(really(place))
        return made[-1]

    monkeypatch.setattr(lifecycle, "init_db", note)
    assert "CREATE TABLE clips" in lifecycle._migrated_in_memory()  # noqa: SLF001 - of a thread
    assert [idle(engine) for engine in made] == [0]


def test_a_file_that_may_only_be_read_is_not_read_whole(
    head_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    shutil.copy(head_file, path)
    statements: list[str] = []
    engine = create_engine(path)
    event.listen(engine, "connect", lambda raw, _: raw.set_trace_callback(statements.append))
    monkeypatch.setattr(os, "access", lambda _path, mode, **_: mode == os.R_OK)
    assert lifecycle._read_only_at_head(engine)  # noqa: SLF001 - root may write any file
    assert statements
    assert not any("check" in statement for statement in statements)
    engine.dispose()
