"""What is found in a backup that is restored for a trial."""

from __future__ import annotations

import logging
import sqlite3
import tempfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from inspect_sqlite import execute

from shortsdb.errors import OperationRefused
from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.revisions import revision_ids
from shortsdb.sqlite.foreign_keys import BrokenKey
from shortsdb.sqlite.verify import verify

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def test_a_sound_backup(head_file: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = verify(head_file, revision_ids(), BASELINES)
    assert found.ok
    assert found.size_bytes == head_file.stat().st_size
    assert found.version.revision == revision_ids()[-1]
    assert (found.damage, found.broken_keys) == ((), ())
    assert found.rows["clips"] == 0
    assert found.rows["alembic_version"] == 1
    assert not list(folder.iterdir())
    assert not caplog.records  # nobody asked for what becomes of the temporary file


def test_an_unversioned_backup_is_recognised(deployed_file: Path) -> None:
    found = verify(deployed_file, revision_ids(), BASELINES)
    assert found.ok
    assert (found.version.revision, found.version.shape) == (None, "0001")


def test_rows_that_point_nowhere(deployed_file: Path) -> None:
    execute(deployed_file, "UPDATE clips SET pipeline_run_id = 4711 WHERE id = 1")
    found = verify(deployed_file, revision_ids(), BASELINES)
    assert not found.ok
    assert found.broken_keys == (BrokenKey("clips", "pipeline_run_id", "pipeline_runs", 1),)


@pytest.mark.parametrize("unknown", ["0000", None])
def test_a_backup_of_something_else_is_not_ok(tmp_path: Path, unknown: str | None) -> None:
    backup = tmp_path / "b.db"
    execute(backup, "CREATE TABLE t (a)")
    if unknown is not None:
        execute(backup, "CREATE TABLE alembic_version (version_num)")
        execute(backup, f"INSERT INTO alembic_version VALUES ('{unknown}')")
    found = verify(backup, revision_ids(), BASELINES)
    assert not found.ok
    assert (found.damage, found.broken_keys, found.rows["t"]) == ((), (), 0)
    if unknown is None:
        assert str(found.version.misfit).startswith(f"{backup} has no version")


def test_damage_is_named_in_one_line(deployed_file: Path) -> None:
    execute(
        deployed_file,
        """CREATE INDEX "x\x1b[2J" ON clips (id); PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET sql = 'CREATE INDEX "x\x1b[2J" ON clips (id DESC)'
        WHERE name LIKE 'x_[2J'""",
    )
    found = verify(deployed_file, revision_ids(), BASELINES)
    assert not found.ok
    assert found.damage[0].endswith("missing from index x\\x1b[2J")


def test_a_backup_without_tables_is_not_ok(tmp_path: Path) -> None:
    backup = tmp_path / "b.db"
    execute(backup, "CREATE TABLE t (a)")
    execute(backup, "DROP TABLE t")
    found = verify(backup, revision_ids(), BASELINES)
    assert not found.ok
    assert (found.version.misfit, found.rows) == (None, {})


def test_a_backup_that_cannot_be_read_is_refused(deployed_file: Path, folder: Path) -> None:
    with closing(sqlite3.connect(deployed_file)) as connection:
        connection.create_function("of_another_program", 1, len, deterministic=True)
        connection.executescript(
            "CREATE TABLE t (a); INSERT INTO t VALUES ('x');"
            "CREATE INDEX i ON t (of_another_program(a))"
        )
    with pytest.raises(OperationRefused, match=f"{deployed_file}: .*of_another_program"):
        verify(deployed_file, revision_ids(), BASELINES)
    assert not list(folder.iterdir())
