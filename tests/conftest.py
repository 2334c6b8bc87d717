"""Fixtures that all tests share; databases are built by migrating, never by create_all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import deployed
import pytest
from alembic import command
from postgres import Server
from sqlalchemy import Engine, create_engine, event

from shortsdb.config import alembic_config, revisions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
HEAD = revisions()[-1]
NEXT = f"{int(HEAD) + 1:04}"  # the revision that a test adds
PROGRAMS = Path(sys.executable).parent

Program: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"


@pytest.fixture(autouse=True)
def _no_database_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHORTSDB_URL", raising=False)


@pytest.fixture
def alembic(tmp_path: Path) -> Program:
    """Run the alembic program as an operator does, in an empty folder, and return what it did."""

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
    return deployed.make(tmp_path / "deployed.db")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Return an engine on a new SQLite file at head, foreign keys enforced."""
    path = tmp_path / "head.db"
    command.upgrade(alembic_config(str(path)), "head")
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA foreign_keys = ON"))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Return a PostgreSQL server of our own."""
    with Server() as server:
        yield server
