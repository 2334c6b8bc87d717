"""A killed copy leaves the target unchanged, and a second one succeeds."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import legacy_database
import pytest
from alembic import command
from inspect_sqlite import row_hashes
from project import HELPERS
from sample_rows import fill_new_tables

from shortsdb.migration.revisions import alembic_config
from shortsdb.transfer import copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postgresql_server import Database, Server

SCRIPT = HELPERS / "killed_copy.py"
POINTS = 7


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file at head, with several blocks of rows."""
    path = legacy_database.make(tmp_path_factory.mktemp("killed") / "deployed.db", 3_000)
    command.upgrade(alembic_config(str(path), backup="off"), "head")
    fill_new_tables(path)
    return path


@contextmanager
def copying(source: str) -> Iterator[Callable[[str, int], str]]:
    """Yield a function that copies to a target, killed at a point, and returns the output."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def run(target: str, point: int) -> str:
            requests.write(f"{target} {point}\n")
            requests.flush()
            return answers.readline().strip()

        yield run
        requests.close()


def spread(points: int) -> list[int]:
    """Return points spread evenly, and the last ones, around the commit."""
    return sorted({1 + points * n // POINTS for n in range(POINTS)} | {*range(points - 3, points)})


@pytest.mark.parametrize("start", ["no table", "empty tables"])
def test_a_killed_copy_leaves_postgresql_unchanged(
    postgres: Server, source: Path, start: str
) -> None:
    template = postgres.create_database()
    if start == "empty tables":
        command.upgrade(alembic_config(template.url), "0005")
        template.psql("SELECT nextval('clips_id_seq')")
    before = state_of(template)
    with copying(str(source)) as run:
        target = postgres.create_database(template)
        last = int(run(target.url, 0))
        after = state_of(target)
        assert after != before
        states = []
        target = postgres.create_database(template)
        for point in spread(last):
            assert run(target.url, point) == "killed"
            state = state_of(target)
            assert state in (before, after)
            states.append(state == after)
            if state == after:
                target = postgres.create_database(template)
        assert states == sorted(states)  # not before the COMMIT
        assert states.count(False) >= POINTS // 2
        # It also removes the folder that the killed copy has left.
        assert int(run(target.url, 0)) >= last
    assert state_of(target) == after


def state_of(database: Database) -> list[str]:
    """Return all that it holds, once the server has noticed that its client is gone."""
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )
    give_up = time.monotonic() + 60
    while database.psql(others) != "0\n":
        assert time.monotonic() < give_up
    dump = database.dump("--exclude-table-data=shortsdb_history")  # it holds times
    return sorted(dump.splitlines())  # the order of rows says nothing


def test_a_killed_copy_leaves_a_complete_sqlite_file_or_none(
    postgres: Server, source: Path, tmp_path: Path
) -> None:
    database = postgres.create_database()
    copy(str(source), database.url)
    target = tmp_path / "new.db"
    states = []
    with copying(database.url) as run:
        last = int(run(str(target), 0))
        rows = row_hashes(target)
        target.unlink()
        for point in spread(last):
            assert run(str(target), point) == "killed"
            states.append(target.exists())
            if target.exists():
                assert row_hashes(target) == rows
                target.unlink()
            assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".new.db.")]
        assert states == sorted(states)  # not before it gets its name
        assert states.count(False) >= POINTS // 2
        assert run(str(target), 0).isdecimal()
    assert row_hashes(target) == rows
