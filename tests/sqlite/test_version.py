"""An upgrade that has nothing to do is seen at once, and never taken for one that has."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from inspect_sqlite import execute, file_hash
from project import HEAD, PROGRAMS

from shortsdb.database import init_db
from shortsdb.sqlite.version import is_at_head

if TYPE_CHECKING:
    from pathlib import Path


def age(path: Path) -> None:
    """Let the file have been written to an hour ago."""
    hour_ago = path.stat().st_mtime - 3600
    os.utime(path, (hour_ago, hour_ago))


@pytest.fixture(params=["delete", "wal"])
def head_file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "head %41.db"
    init_db(path).dispose()
    with closing(sqlite3.connect(path)) as connection:
        mode = connection.execute(f"PRAGMA journal_mode = {request.param}").fetchone()
    assert mode == (request.param,)
    age(path)
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208 - names are compared
    return path


def test_nothing_to_do_is_seen_without_sqlalchemy_and_alembic(head_file: Path) -> None:
    before = file_hash(head_file), head_file.stat().st_mtime_ns
    script = (
        "import sys; from shortsdb.cli import main;"
        f"main(['upgrade', '--url', {head_file.name!r}], standalone_mode=False);"
        "print({'sqlalchemy', 'alembic'} & set(sys.modules))"
    )
    quick = subprocess.run(
        [sys.executable, "-c", script],
        cwd=head_file.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert quick.stdout == "set()\n"
    assert (file_hash(head_file), head_file.stat().st_mtime_ns) == before
    assert os.listdir(head_file.parent) == [head_file.name]  # noqa: PTH208 - as above
    os.utime(head_file)  # written to just now: the ordinary path
    ordinary = subprocess.run(
        [PROGRAMS / "shortsdb", "upgrade", "--url", head_file.name],
        cwd=head_file.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert quick.stderr == ordinary.stderr
    assert f"is at {HEAD} already: nothing to do" in quick.stderr


def test_the_shortcut_logs_the_same_record_as_the_normal_path(head_file: Path) -> None:
    def upgrade() -> dict[str, str]:
        done = subprocess.run(
            [PROGRAMS / "shortsdb", "upgrade", "--url", head_file],
            env={**os.environ, "SHORTSDB_LOG": "json", "SHORTSDB_CORRELATION_ID": "restart"},
            capture_output=True,
            text=True,
            check=True,
        )
        record: dict[str, str] = json.loads(done.stderr)
        assert record.pop("time")
        return record

    assert is_at_head(head_file, HEAD)
    quick = upgrade()
    os.utime(head_file)  # modified just now: the normal path
    assert upgrade() == quick


def test_others_who_have_the_file_open_are_a_doubt(head_file: Path) -> None:
    with closing(sqlite3.connect(head_file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE alembic_version SET version_num = '0007'")
        age(head_file)
        assert not is_at_head(head_file, HEAD)
        connection.execute("ROLLBACK")


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE alembic_version SET version_num = '0007'",
        "UPDATE alembic_version SET version_num = '0999'",
        "UPDATE alembic_version SET version_num = 8",
        "DELETE FROM alembic_version",
        "INSERT INTO alembic_version VALUES ('0007')",
        "DROP TABLE alembic_version",
        "CREATE TABLE _alembic_tmp_clips (x)",
    ],
)
def test_another_version_is_not_head(head_file: Path, script: str) -> None:
    assert is_at_head(head_file, HEAD)
    execute(head_file, script)
    age(head_file)
    assert not is_at_head(head_file, HEAD)


def test_what_is_not_plain_is_a_doubt(head_file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(head_file)
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database " * 1000)
    age(garbage)
    empty = tmp_path / "empty.db"
    empty.touch()
    age(empty)
    for file in (link, garbage, empty, tmp_path / "absent.db", tmp_path):
        assert not is_at_head(file, HEAD)
    os.utime(head_file)
    assert not is_at_head(head_file, HEAD)
    assert not (tmp_path / "absent.db").exists()
