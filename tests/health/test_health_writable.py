"""A database that is only readable is unhealthy, unless the engine is read-only."""

from __future__ import annotations

import gc
import os
import pwd
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from postgresql_server import Database, Server
from sqlalchemy import text

from shortsdb.database import check_db_health, init_db
from shortsdb.engine import READ_ONLY_OPTIONS, create_engine, session_factory

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = os.geteuid() == 0
_USER = pwd.getpwnam("nobody").pw_uid if _ROOT else os.geteuid()
KEEP = {"journal_mode": None}  # as `shortsdb health` does


@contextmanager
def without_root() -> Iterator[None]:
    """Be a user for whom permissions count."""
    if not _ROOT:
        yield
        return
    os.seteuid(_USER)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def file(head_file: Path) -> Iterator[Path]:
    """Return a file at head in a folder that the user owns and can get to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(head_file, folder / "x.db")
        (folder / "x.db").chmod(0o644)
        folder.chmod(0o755)
        if _ROOT:
            os.chown(folder, _USER, -1)
            os.chown(folder / "x.db", _USER, -1)
        yield folder / "x.db"
        folder.chmod(0o755)


def problems(file: Path) -> tuple[bool | None, tuple[str, ...]]:
    engine = create_engine(file, pragmas=KEEP)
    health = check_db_health(engine)
    engine.dispose()
    assert health.reachable
    return health.writable, health.problems


def test_a_file_that_cannot_be_written(file: Path) -> None:
    with without_root():
        assert problems(file) == (True, ())
        file.chmod(0o444)
        assert problems(file) == (False, ("it is read-only: the file cannot be written",))
        file.chmod(0o644)
        file.parent.chmod(0o555)
        found = ("it is read-only: the folder cannot be written, and SQLite needs it",)
        assert problems(file) == (False, found)


@pytest.mark.parametrize("end", ["wal", "shm"])
def test_a_side_file_that_cannot_be_written(file: Path, end: str) -> None:
    with closing(sqlite3.connect(file)) as other, without_root():
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE of_others (a)")
        assert problems(file) == (True, ())
        file.with_name(f"x.db-{end}").chmod(0o444)
        assert problems(file) == (False, (f"it is read-only: the -{end} file cannot be written",))


def test_query_only(file: Path) -> None:
    engine = create_engine(file, pragmas={"query_only": "ON"})
    health = check_db_health(engine)
    assert health.writable is False
    assert health.problems == ("it is read-only: connections of this engine are set to query_only",)
    engine.dispose()


def test_read_only_sessions_do_not_make_an_engine_read_only(file: Path) -> None:
    engine = create_engine(file, pool_size=1)
    connection = engine.execution_options(**READ_ONLY_OPTIONS).connect()
    connection.execute(text("SELECT 1"))
    # Dropped instead of closed, as by a program that forgot it; the pool takes it back as it is.
    del connection
    gc.collect()
    assert check_db_health(engine).writable is True
    with session_factory(engine, read_only=True)() as session:
        session.execute(text("SELECT 1"))
    assert check_db_health(engine).writable is True
    engine.dispose()


def test_a_read_only_engine_is_not_checked_for_writing(file: Path) -> None:
    file.chmod(0o444)
    file.parent.chmod(0o555)
    with without_root():
        engine = create_engine(file, pragmas=KEEP)
        for reading in (
            engine.execution_options(**READ_ONLY_OPTIONS),
            create_engine(f"sqlite:///file:{file}?mode=ro&uri=true", pragmas=KEEP),
            create_engine(f"sqlite:///file:{file}?immutable=1&uri=true", pragmas=KEEP),
        ):
            health = check_db_health(reading)
            assert (health.writable, health.problems) == (None, ())
            reading.dispose()


def test_a_database_in_memory() -> None:
    engine = init_db(":memory:")
    assert check_db_health(engine).writable is True
    engine.dispose()


def test_a_database_of_read_only_transactions(postgres: Server) -> None:
    database = postgres.create_database()
    engine = init_db(database.url)
    assert check_db_health(engine).writable is True
    engine.dispose()
    postgres.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    health = check_db_health(engine)
    assert health.writable is False
    assert health.problems == ("it is read-only: default_transaction_read_only is on",)
    health = check_db_health(engine.execution_options(**READ_ONLY_OPTIONS))
    assert (health.ok, health.writable) == (True, None)
    engine.dispose()


def test_a_standby() -> None:
    with Server() as server:
        primary = server.create_database()
        init_db(primary.url).dispose()
        with Server(primary=server) as replica:
            engine = create_engine(Database(replica, primary.name).url)
            health = check_db_health(engine)
            assert (health.reachable, health.writable) == (True, False)
            assert health.problems == ("it is read-only: the server is a standby",)
            assert check_db_health(engine.execution_options(**READ_ONLY_OPTIONS)).ok
            replica.promote()
            assert check_db_health(engine).writable is True
            engine.dispose()
