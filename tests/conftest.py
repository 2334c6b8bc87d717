"""Fixtures shared by all tests; databases are built by migrations, never by create_all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import legacy_database
import pytest
from alembic import command
from browser import Browser
from postgresql_server import Database, Server
from project import PROGRAMS, ROOT
from project_copy import Checkout
from sample_rows import fill_new_tables
from sqlalchemy import Engine, create_engine, event

from shortsdb import engine as engines
from shortsdb.console import create_app
from shortsdb.database import get_session, seed_db
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from project import NewUrl, Program

# Slow tests, by top folder of tests/, file, or test. Only `make test-all` runs them.
SLOW = {
    "crash": {
        "crash",
        "test_copy_killed.py",
        "test_a_copy_ended_by_a_signal_removes_its_folder",
        "test_fork_servers.py",
        "test_processes_lose_no_increment",
        "test_concurrent_threads_lose_no_update_and_readers_do_not_wait",
        "test_async_tasks_lose_no_update",
        "test_threads_take_connections_while_the_process_forks",
        "test_threads_write_while_the_process_forks",
        "test_concurrent_processes_run_init_db_and_check_is_clean",
        "test_threads_and_processes_at_once",
    },
    "browser": {"test_in_browser.py", "test_pictures.py"},
    "pages": {"test_docs_commands.py", "test_docs_generated.py", "test_diagram.py"},
    "peers": {
        "test_benchmarks.py",
        "test_application_types.py",
        "test_a_plain_begin_raises_database_is_locked",
        "test_default_sqlalchemy_silently_loses_updates",
        "test_old_and_new_application_share_a_file",
    },
    "postgresql": {
        "test_baseline_postgresql.py",
        "test_copy.py",
        "test_failover.py",
        "test_late_rows.py",
        "test_next_release.py",
        "test_outside_transactions.py",
        "test_postgresql.py",
        "test_postgresql_outages.py",
        "test_postgresql_side.py",
        "test_pooler.py",
        "test_postgresql_standby.py",
        "test_schemas.py",
        "test_server_gone.py",
        "test_server_settings.py",
    },
    "release": {"test_packaging.py"},
}

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

# Hundreds of tests start a program; without this each compiles the modules of a fresh clone.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in `SLOW`."""
    for item in items:
        path = item.path.relative_to(ROOT / "tests")
        test = getattr(item, "originalname", item.name)
        for marker, names in SLOW.items():
            if names & {path.parts[0], path.name, test}:
                item.add_marker(marker)


@pytest.fixture(autouse=True)
def _no_database_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHORTSDB_URL", raising=False)


@pytest.fixture(autouse=True)
def _the_signals_of_the_process_are_left_alone() -> Iterator[None]:
    """A handler that stays makes a later `multiprocessing.Pool` of the process hang at its end."""
    before = [signal.getsignal(number) for number in _ENDING]
    yield
    assert [signal.getsignal(number) for number in _ENDING] == before


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Return an empty folder that every user can reach.

    It is not below `tmp_path`: whenever another pytest begins, it closes that to other users.
    """
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder).resolve()


@pytest.fixture
def alembic(tmp_path: Path) -> Program:
    """Run the alembic program in an empty folder, and return the completed process."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAMS / "alembic", "-c", ROOT / "alembic.ini", *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def deployed_file(tmp_path: Path) -> Path:
    """Return a deployed file with rows in its three tables."""
    return legacy_database.make(tmp_path / "deployed.db")


@pytest.fixture
def full_file(deployed_file: Path) -> Path:
    """Return a file at head with rows in all ten tables."""
    command.upgrade(alembic_config(str(deployed_file), backup="off"), "head")
    fill_new_tables(deployed_file)
    return deployed_file


@pytest.fixture
def target(postgres: Server) -> Iterator[Database]:
    """Return a PostgreSQL database without a table."""
    database = postgres.create_database()
    yield database
    postgres.drop_database(database)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Return a private PostgreSQL server."""
    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def head_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file at head, to be copied."""
    path = tmp_path_factory.mktemp("head") / "head.db"
    command.upgrade(alembic_config(str(path)), "head")
    return path


@pytest.fixture
def checkout(tmp_path: Path, head_file: Path) -> Checkout:
    """Return a changeable copy of the checkout with its database at head."""
    shutil.copy(head_file, tmp_path / "shortsdb.db")
    return Checkout(tmp_path)


@pytest.fixture(scope="session")
def head_database(postgres: Server) -> Database:
    """Return a PostgreSQL database at head, to be a template of others."""
    database = postgres.create_database()
    command.upgrade(alembic_config(database.url), "head")
    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewUrl]:
    """Return a function that creates a database at head and returns its URL, on both databases."""
    made: list[Database] = []

    def new_file() -> str:
        path = tmp_path / f"head{len(list(tmp_path.glob('head*.db')))}.db"
        shutil.copy(request.getfixturevalue("head_file"), path)
        return f"sqlite:///{path}"

    def new_database() -> str:
        template: Database = request.getfixturevalue("head_database")
        made.append(template.server.create_database(template))
        return made[-1].url

    yield new_file if request.param == "sqlite" else new_database
    for database in made:
        database.server.drop_database(database)


@pytest.fixture
def url(new_url: NewUrl) -> str:
    """Return the URL of a new database at head, on SQLite and on PostgreSQL."""
    return new_url()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Return a plain engine on a new database at head, foreign keys enforced."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA foreign_keys = ON"))
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_engine(head_file: Path) -> Iterator[Engine]:
    """Return a plain engine on the SQLite file that tests copy; use it only for reading."""
    engine = create_engine(f"sqlite:///{head_file}")
    yield engine
    engine.dispose()


@pytest.fixture
def channel(url: str) -> Iterator[Engine]:
    """Return an engine of shortsdb on a new database with a small channel, on both databases."""
    engine = engines.create_engine(url)
    with get_session(engine) as session:
        seed_db(session)
    yield engine
    engine.dispose()


@pytest.fixture
def browser(channel: Engine) -> Browser:
    """Return a browser on the console of the channel."""
    return Browser(create_app(channel))
