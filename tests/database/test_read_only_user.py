"""A user with read access only gets an engine on a file that is at head, and can read rows."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import legacy_database
import pytest
from inspect_sqlite import row_hashes
from sample_rows import fill_new_tables

from shortsdb.database import init_db
from shortsdb.migration import MigrationRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from project import Program

# Everything is imported as the user who started the tests, because other users may not be able to
# read that Python. Root ignores permissions, so it becomes the user nobody.
READER = """
import asyncio, datetime, os, sys
from sqlalchemy import inspect, select, text
import shortsdb.health
from shortsdb.database import Base, Clip, check_db_health, get_session, init_db, init_db_async
from shortsdb.engine import session_factory
init_db(":memory:").dispose()
datetime.datetime.strptime("2026", "%Y")  # imports a module
asyncio.run(init_db_async(":memory:")).sync_engine  # noqa: B018
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
engine = init_db(sys.argv[1])
with get_session(engine) as session:
    for mapper in Base.registry.mappers:
        assert session.scalars(select(mapper.class_)).first() is not None
    first = session.query(Clip).first()
    session.commit()
    assert first.id
with session_factory(engine, read_only=True)() as session:
    print(session.query(Clip).count(), "clips")
with get_session(engine) as session:
    try:
        session.execute(text("DELETE FROM clips"))
    except Exception as error:
        print(type(error).__name__, "readonly" in str(error))
print(*check_db_health(engine).problems, sep="\\n")
engine.dispose()
async def main():
    engine = await init_db_async(sys.argv[1])
    async with engine.connect() as connection:
        print(await connection.scalar(text("SELECT count(*) FROM clips")), "clips")
    await engine.dispose()
asyncio.run(main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that other users can read, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def file(folder: Path) -> Path:
    """Return a file at head with rows in all tables, in WAL mode."""
    path = legacy_database.make(folder / "x.db")
    init_db(path).dispose()
    fill_new_tables(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def read(
    file: Path, *, folder_mode: int, file_mode: int = 0o444
) -> subprocess.CompletedProcess[str]:
    """Run the reader on a file that it may only read."""
    before = row_hashes(file)
    file.chmod(file_mode)
    file.parent.chmod(folder_mode)
    done = subprocess.run(
        [sys.executable, "-c", READER, file], capture_output=True, text=True, check=False
    )
    file.parent.chmod(0o755)
    file.chmod(0o644)
    assert row_hashes(file) == before
    return done


def assert_was_read(done: subprocess.CompletedProcess[str], clips: int) -> None:
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{clips} clips",
        "OperationalError True",
        "it is read-only: the file cannot be written",
        f"{clips} clips",
    ]


def count_clips(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM clips").fetchone()[0])


@pytest.mark.parametrize("folder_mode", [0o555, 0o777])
def test_in_delete_mode(file: Path, folder_mode: int) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    clips = count_clips(file)
    assert_was_read(read(file, folder_mode=folder_mode), clips)
    assert list(file.parent.glob("x.db?*")) == []


def test_in_a_folder_that_may_only_be_read(file: Path) -> None:
    """SQLite writes to no file whose journal it cannot make."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    done = read(file, folder_mode=0o555, file_mode=0o666)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{count_clips(file)} clips\nOperationalError True\n")


def test_a_file_that_may_not_even_be_read_is_said_so(file: Path) -> None:
    done = read(file, folder_mode=0o555, file_mode=0o000)
    assert done.returncode == 1
    assert "may only read it" not in done.stderr
    assert "no permission to read it" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("folder_mode", [0o555, 0o777])
def test_in_wal_mode_beside_the_application(file: Path, folder_mode: int) -> None:
    clips = count_clips(file)
    with closing(sqlite3.connect(file)) as application:
        application.execute("INSERT INTO config_overrides (key, value) VALUES ('new', 'v')")
        application.commit()
        assert Path(f"{file}-shm").exists()
        assert_was_read(read(file, folder_mode=folder_mode), clips)


def test_in_wal_mode_in_a_folder_that_may_be_written(file: Path) -> None:
    clips = count_clips(file)
    assert not Path(f"{file}-shm").exists()
    assert_was_read(read(file, folder_mode=0o777), clips)


def test_an_unopened_file_in_wal_mode_is_refused_with_the_reason(file: Path) -> None:
    done = read(file, folder_mode=0o555)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert f"{file}: this user may only read it, and to read a file in WAL mode" in last
    # As sqlite3 itself: without -shm it cannot read such a file.
    assert list(file.parent.glob("x.db?*")) == []


def test_a_file_that_is_not_at_head_is_refused(file: Path, alembic: Program) -> None:
    alembic("downgrade", "-1", SHORTSDB_URL=str(file), SHORTSDB_BACKUP="off")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    done = read(file, folder_mode=0o555)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("the file or its file system is read-only for this user")


def test_a_file_that_may_be_written_is_not_called_read_only(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("This is not a database.\n" * 100)
    with pytest.raises(MigrationRefused, match="is not an SQLite database"):
        init_db(path)
