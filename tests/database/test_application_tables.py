"""init_db creates the tables that an application declares on Base, as create_all does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING
from zlib import crc32

import psycopg
import pytest
from inspect_sqlite import schema
from project import HEAD, PROGRAMS
from sqlalchemy import Column, ForeignKey, Integer, String, Table, inspect, text
from sqlalchemy.exc import OperationalError

from shortsdb import lifecycle
from shortsdb.database import (
    Base,
    check_db_health,
    drop_db,
    get_session,
    get_session_async,
    init_db,
    init_db_async,
    seed_db,
)
from shortsdb.engine import create_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Database, Server

NAMES = {"notes", "notes_of_runs"}


@pytest.fixture(autouse=True)
def tables() -> Iterator[list[Table]]:
    """Declare two tables on Base, one of which points to a table of shortsdb."""
    notes = Table(
        "notes",
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("text", String, nullable=False, index=True),
    )
    of_runs = Table(
        "notes_of_runs",
        Base.metadata,
        Column("note_id", ForeignKey("notes.id"), primary_key=True),
        Column("run_id", ForeignKey("pipeline_runs.id"), primary_key=True),
    )
    yield [notes, of_runs]
    Base.metadata.remove(of_runs)
    Base.metadata.remove(notes)


@pytest.fixture(params=["file", "memory", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database that is not there yet."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        return server.create_database().url
    return ":memory:" if request.param == "memory" else str(tmp_path / "new.db")


def test_init_db_creates_application_tables(place: str, tables: list[Table]) -> None:
    engine = init_db(place)
    assert set(inspect(engine).get_table_names()) >= NAMES
    assert [index["name"] for index in inspect(engine).get_indexes("notes")] == ["ix_notes_text"]
    with get_session(engine) as session:
        seed_db(session)
        session.execute(tables[0].insert(), [{"id": 1, "text": "x"}])
        session.execute(tables[1].insert(), [{"note_id": 1, "run_id": 1}])
        session.commit()
    assert check_db_health(engine).ok
    drop_db(engine, confirm=True, confirm_again=True)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_init_db_async_creates_application_tables(place: str) -> None:
    async def main() -> None:
        engine = await init_db_async(place)
        async with get_session_async(engine) as session:
            assert (await session.execute(text("SELECT * FROM notes_of_runs"))).all() == []
        await engine.dispose()

    asyncio.run(main())


def test_a_second_init_db_does_not_change_application_tables(
    deployed_file: Path, tables: list[Table]
) -> None:
    engine = init_db(deployed_file)
    with engine.begin() as connection:
        connection.execute(tables[0].insert(), [{"id": 1, "text": "kept"}])
    engine.dispose()
    engine = init_db(deployed_file)
    with engine.connect() as connection:
        assert list(map(tuple, connection.execute(tables[0].select()))) == [(1, "kept")]
    engine.dispose()


def test_own_tables_are_created_only_by_migrations(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    init_db(path).dispose()
    with_notes = schema(path)
    engine = init_db(path)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE scripts"))
    engine.dispose()
    init_db(path).dispose()
    missing = with_notes.keys() - schema(path).keys()
    assert missing == {"scripts", "ix_scripts_pipeline_run_id"}


def test_concurrent_init_db_creates_application_tables_once(place: str) -> None:
    if place == ":memory:":
        return  # nobody else can
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(init_db, [place] * 4))
    for engine in engines:
        assert set(inspect(engine).get_table_names()) >= NAMES
        engine.dispose()


def test_concurrent_processes_run_init_db_and_check_is_clean(
    tmp_path: Path, postgres: Server
) -> None:
    script = tmp_path / "application.py"
    script.write_text(
        """
import sys
from alembic import command
from sqlalchemy.orm import Mapped, mapped_column
from shortsdb.migration.revisions import alembic_config
from shortsdb.database import Base, init_db

class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(index=True)

init_db(sys.argv[1]).dispose()
command.check(alembic_config(sys.argv[1]))
""",
        encoding="utf-8",
    )
    for place in (str(tmp_path / "x.db"), postgres.create_database().url):
        running = [
            subprocess.Popen(
                [sys.executable, script, place],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(4)
        ]
        for process in running:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0, output
        # A program that does not know the application's models ignores its tables.
        done = subprocess.run(
            [PROGRAMS / "shortsdb", "check", "--url", place],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "The schema is what the models say." in done.stdout


def test_on_postgresql_application_tables_are_created_in_turn_with_migrations(
    postgres: Server, head_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that look for a table at once would both create it."""
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0.1")
    database = postgres.create_database(head_database)
    engine = create_engine(database.url)
    with closing(psycopg.connect(postgres.url(database.name))) as other:
        other.execute(f"SELECT pg_advisory_lock({crc32(b'alembic_version')})".encode())
        with pytest.raises(OperationalError, match="lock timeout"):
            lifecycle._create_other_tables(engine)  # noqa: SLF001 - init_db waits before it
    lifecycle._create_other_tables(engine)  # noqa: SLF001 - as above
    assert set(inspect(engine).get_table_names()) > NAMES
    engine.dispose()
    postgres.drop_database(database)


def test_the_version_is_head_despite_application_tables(tmp_path: Path) -> None:
    engine = init_db(tmp_path / "x.db")
    assert check_db_health(engine).revision == HEAD
    engine.dispose()
