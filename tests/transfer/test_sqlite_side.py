"""The SQLite side of a copy without a server: reading, writing, and making the new file."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import legacy_database
import pytest
from inspect_sqlite import execute, file_hash, row_counts, row_hashes
from other_user import OWNER, needs_root

from shortsdb.errors import OperationRefused
from shortsdb.models import metadata
from shortsdb.sqlite.online_copy import connect_read_only
from shortsdb.transfer.keys import primary_key
from shortsdb.transfer.sqlite import Sqlite, new_file, open_source, refuse_existing, upgraded_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIPS, RUNS = metadata.tables["clips"], metadata.tables["pipeline_runs"]
OVERRIDES = metadata.tables["config_overrides"]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def source(full_file: Path) -> Iterator[Sqlite]:
    """Return a side with rows in all tables."""
    with open_source(full_file) as side:
        yield side


def examined(
    side: Sqlite, table: str, invalid: dict[str, set[Any]] | None = None
) -> tuple[dict[Any, Any], int]:
    """Return the faults by key, and how many rows were looked at."""
    seen: list[int] = []
    known = {name: set[Any]() for name in metadata.tables} | (invalid or {})
    found = list(side.examine(metadata.tables[table], known, seen.append))
    assert {row.table for row in found} <= {table}
    assert all(row.row[primary_key(metadata.tables[table]).name] == row.key for row in found)
    return {row.key: row.faults for row in found}, sum(seen)


def test_all_rows_of_a_file_are_written_to_another(
    source: Sqlite, full_file: Path, tmp_path: Path
) -> None:
    advanced = {}
    with new_file(tmp_path / "new.db") as new:
        for table in metadata.sorted_tables:
            new.write(table, source.read(table))
            advanced[table.name] = source.count(table)
            assert list(new.read(table)) == list(source.read(table))
        new.finish()
    assert advanced == row_counts(full_file)
    # In the form of the models, in which everything of this file is already.
    assert row_hashes(tmp_path / "new.db").keys() == row_hashes(full_file).keys()


def test_rows_are_read_in_parts_in_the_order_of_their_keys_without_some(full_file: Path) -> None:
    execute(full_file, "DELETE FROM config_overrides")
    with closing(sqlite3.connect(full_file)) as connection, connection:
        connection.executemany(
            "INSERT INTO config_overrides (key, value) VALUES (?, '')",
            [(f"{'aB'[n % 2]}{n:03}",) for n in range(250)],
        )
    with open_source(full_file) as side:
        parts = list(side.read(OVERRIDES))
        assert [len(part) for part in parts] == [100, 100, 50]
        rows = [row for part in parts for row in part]
        assert rows == sorted(rows)  # by bytes, B before a
        some = {"B001", "a000"} | {f"a{n:03}" for n in range(2, 250, 2)}
        kept = [row for part in side.read(OVERRIDES, some) for row in part]
        # With its length: the present moment may have a B in it too.
        assert kept == [row for row in rows if b"\x04B" in row and b"\x04B001" not in row]
        assert not list(side.read(OVERRIDES, {key for key, _ in some_keys(full_file)}))


def some_keys(file: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.execute("SELECT key, value FROM config_overrides"))


def test_sound_rows_are_looked_at_and_not_reported(source: Sqlite) -> None:
    for name, table in metadata.tables.items():
        assert examined(source, name) == ({}, source.count(table))


def test_rows_that_cannot_be_copied_are_reported(full_file: Path) -> None:
    execute(
        full_file,
        "UPDATE clips SET end_time_seconds = 'late' WHERE id = 2;"
        "UPDATE clips SET pipeline_run_id = 777 WHERE id = 4;"
        "UPDATE clips SET pipeline_run_id = 'x', rank_position = 1.5 WHERE id = 5",
    )
    with open_source(full_file) as side:
        assert examined(side, "clips") == (
            {
                2: {"end_time_seconds": "'late' where a number belongs"},
                4: {"pipeline_run_id": "pipeline_runs has no row 777"},
                5: {
                    "pipeline_run_id": "'x' where a 64-bit integer belongs",
                    "rank_position": "1.5 where a 64-bit integer belongs",
                },
            },
            18,
        )


def test_rows_that_point_to_invalid_rows_are_reported(source: Sqlite) -> None:
    found, looked_at = examined(source, "shorts", {"clips": {1}})
    assert found == {2: {"clip_id": "row 1 of clips is invalid"}}
    assert looked_at == source.count(metadata.tables["shorts"])
    found, _ = examined(source, "scripts", {"pipeline_runs": {1}})
    assert found == {1: {"pipeline_run_id": "row 1 of pipeline_runs is invalid"}}
    assert examined(source, "scripts", {"pipeline_runs": {4711}})[0] == {}


def test_a_new_file_is_private_enforces_foreign_keys_and_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    fsync, link = os.fsync, os.link

    def record_fsync(descriptor: int) -> None:
        calls.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def record_link(partial: Path, to: Path) -> None:
        calls.append(("name", to.name))
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
        assert stat.S_IMODE(partial.parent.stat().st_mode) == 0o700
        assert partial.parent.name.startswith(".new.db.")
        assert partial.parent.parent == tmp_path  # another file system would refuse the link
        link(partial, to)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "link", record_link)
    file = tmp_path / "new.db"
    before = os.umask(0)
    try:
        with new_file(file) as side:
            assert side.connection.in_transaction
            assert side.connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
            assert not file.exists()
            calls.clear()
    finally:
        os.umask(before)
    assert calls == [("fsync", "new.db"), ("name", "new.db"), ("fsync", tmp_path.name)]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["new.db"]


def test_no_file_is_left_after_an_error(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_file(tmp_path / "new.db"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    with new_file(tmp_path / ("n" * 240)):
        pass
    assert [len(path.name) for path in tmp_path.iterdir()] == [240]


def test_names_that_are_taken_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "new.db"
    refuse_existing(file)
    file.symlink_to("nowhere")
    for refused in (lambda: refuse_existing(file), new_file(file).__enter__):
        with pytest.raises(OperationRefused, match=r"new\.db exists already, and a copy is only"):
            refused()
    file.unlink()
    (tmp_path / "new.db-wal").write_text("rows")
    with pytest.raises(OperationRefused, match=r"new\.db-wal does"):
        refuse_existing(file)


def test_a_file_that_comes_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "new.db"

    def write_beside() -> None:
        with new_file(file):
            file.write_text("mine")

    with pytest.raises(OperationRefused, match=r"could not be given its name \(File exists\)"):
        write_beside()
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_system_without_links_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # as FAT does
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    made = new_file(tmp_path / "new.db")
    made.__enter__()
    with pytest.raises(OperationRefused, match=r"name \(Operation not permitted\); nothing was"):
        made.__exit__(None, None, None)
    assert not list(tmp_path.iterdir())


@needs_root
def test_root_makes_no_file_in_a_folder_of_another_user(reachable: Path) -> None:
    os.chown(reachable, OWNER, OWNER)
    with pytest.raises(OperationRefused, match="can be changed by other users"):
        new_file(reachable / "new.db").__enter__()
    assert not list(reachable.iterdir())


def test_a_source_is_upgraded_in_a_copy(tmp_path: Path, temporary: Path) -> None:
    file = legacy_database.make(tmp_path / "deployed.db")
    before = file_hash(file), sorted(tmp_path.iterdir())
    with upgraded_copy(file) as (copied, original):
        assert copied.is_relative_to(temporary)
        assert stat.S_IMODE(copied.parent.stat().st_mode) == 0o700
        assert [path.name for path in copied.parent.iterdir()] == [file.name]
        with open_source(copied) as side:
            assert side.count(metadata.tables["scripts"]) == 0
            assert side.count(CLIPS) == 18
        assert (file_hash(file), sorted(tmp_path.iterdir())) == before
        assert original.rows() == row_counts(file)
        assert not original.written_to()
        execute(file, "DELETE FROM clips WHERE id = 1")
        assert original.rows()["clips"] == 17
        assert original.written_to()
    assert not list(temporary.iterdir())


def test_a_source_that_cannot_be_upgraded_is_named_and_not_its_copy(
    tmp_path: Path, temporary: Path
) -> None:
    file = tmp_path / "other.db"
    execute(file, "CREATE TABLE users (id INTEGER PRIMARY KEY)")
    with pytest.raises(OperationRefused, match="does not fit the schema") as caught:
        upgraded_copy(file).__enter__()
    assert str(caught.value).startswith(f"{file} ")
    assert str(temporary) not in str(caught.value)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("upgraded", [False, True])
def test_a_damaged_source_is_refused(
    head_file: Path, tmp_path: Path, temporary: Path, *, upgraded: bool
) -> None:
    file = legacy_database.make(tmp_path / "damaged.db")
    if upgraded:  # then nothing else would write to the copy
        file.write_bytes(head_file.read_bytes())
    with file.open("r+b") as raw:
        raw.seek(36)  # how many pages are free, https://sqlite.org/fileformat.html
        raw.write((5).to_bytes(4, "big"))
    with pytest.raises(OperationRefused, match=rf"{file} is damaged"):
        upgraded_copy(file).__enter__()
    assert not list(temporary.iterdir())


def test_a_copy_of_the_source_needs_space(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = legacy_database.make(tmp_path / "deployed.db")
    # More than the upgrade needs.
    execute(file, "CREATE TABLE other (x); INSERT INTO other VALUES (zeroblob(2000000))")
    size = file.stat().st_size
    asked: list[Path] = []

    def disk_usage(path: Path) -> SimpleNamespace:
        asked.append(Path(path))
        return SimpleNamespace(free=size - (len(asked) == 1))

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    with pytest.raises(OperationRefused, match=f"has {size - 1} bytes free of {size}; nothing"):
        upgraded_copy(file).__enter__()
    assert asked[0].is_relative_to(temporary)
    with upgraded_copy(file) as (copied, _):
        assert copied.exists()


def test_a_new_file_is_made_whatever_must_exist_and_nothing_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SHORTSDB_MUST_EXIST", "1")
    caplog.set_level("INFO", "shortsdb.migration")
    with new_file(tmp_path / "new.db") as side:
        assert side.count(CLIPS) == 0
    assert not caplog.records


def test_a_source_is_read_without_its_locks(
    full_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0")
    with closing(sqlite3.connect(full_file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with open_source(full_file) as side:
            assert side.count(CLIPS) == 18


def test_a_source_that_is_replaced_before_it_is_opened_is_refused(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = (legacy_database.make(tmp_path / name) for name in ("one.db", "other.db"))

    def replace_and_connect(*arguments: Any) -> sqlite3.Connection:  # noqa: ANN401 - handed on
        other.replace(file)
        return connect_read_only(*arguments)

    monkeypatch.setattr("shortsdb.transfer.sqlite.connect_read_only", replace_and_connect)
    with pytest.raises(OperationRefused, match=rf"{file}"):
        upgraded_copy(file).__enter__()
    assert not list(temporary.iterdir())
