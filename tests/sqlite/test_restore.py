"""A restore loses no concurrent commit, and does not change the backup."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import legacy_database
import pytest
from inspect_sqlite import execute, file_hash, row_hashes
from other_user import OWNER, needs_root, run_as

from shortsdb.errors import OperationRefused
from shortsdb.sqlite import online_copy
from shortsdb.sqlite import restore as module
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.restore import refuse_unfinished, restore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=["delete", "wal"])
def file(deployed_file: Path, request: pytest.FixtureRequest) -> Path:
    """Return a deployed file, in either journal mode."""
    execute(deployed_file, f"PRAGMA journal_mode = {request.param}")
    return deployed_file


def write(file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=0)) as connection:
        connection.execute("UPDATE clips SET rank_position = 4711")
        connection.commit()


@pytest.mark.parametrize("moment", ["make_backup", "copy_pages"])
def test_restore_blocks_writes_between_backup_and_copy(
    file: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder = file.parent / "backups"
    backup = make_backup(file, "0001", folder)
    real, refused = getattr(module, moment), []

    def write_before_and_after(*arguments: object, **options: object) -> object:
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            write(file)
        result = real(*arguments, **options)
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            write(file)
        refused.append(moment)
        return result

    monkeypatch.setattr(module, moment, write_before_and_after)
    before = row_hashes(file)
    replaced = restore(backup, file, folder, "0001")
    assert refused == [moment]
    assert replaced is not None
    assert ".0001-restore." in replaced.name
    assert row_hashes(replaced) == row_hashes(file) == before
    write(file)  # the lock is gone


def test_restore_leaves_no_file_beside_the_backup(file: Path) -> None:
    folder = file.parent / "backups"
    backup = make_backup(file, "0001", folder)
    before = file_hash(backup), backup.stat()
    folder.chmod(0o500)
    restore(backup, file, None, None)
    assert (file_hash(backup), backup.stat().st_mtime_ns) == (before[0], before[1].st_mtime_ns)
    assert list(folder.iterdir()) == [backup]


def test_a_backup_that_is_named_through_a_link(file: Path, tmp_path: Path) -> None:
    backup = make_backup(file, "0001", tmp_path / "backups")
    rows = row_hashes(file)
    link = tmp_path / "links" / "latest.db"
    link.parent.mkdir()
    link.symlink_to(backup)
    write(file)
    restore(link, file, None, None)
    assert row_hashes(file) == rows
    assert list(link.parent.iterdir()) == [link]
    # Side files of the file behind the link count.
    beside = backup.with_name(f"{backup.name}-wal")
    beside.write_bytes(b"committed rows")
    with pytest.raises(OperationRefused, match="beside it"):
        refuse_unfinished(link, file)
    beside.unlink()
    link.with_name("latest.db-wal").write_bytes(b"of something else")
    refuse_unfinished(link, file)
    # The database itself, by another name.
    link.unlink()
    link.symlink_to(file)
    with pytest.raises(OperationRefused, match="is the database itself"):
        refuse_unfinished(link, file)


def test_a_database_that_is_named_through_a_link(file: Path, tmp_path: Path) -> None:
    backup = make_backup(file, "0001", tmp_path / "backups")
    rows = row_hashes(file)
    link = tmp_path / "links" / "database.db"
    link.parent.mkdir()
    link.symlink_to(file)
    write(file)
    restore(backup, link, None, None)
    assert link.is_symlink()
    assert row_hashes(file) == rows


@pytest.mark.parametrize("side", ["-wal", "-journal"])
def test_a_backup_with_a_side_file_is_refused(file: Path, side: str) -> None:
    backup = make_backup(file, "0001", file.parent / "backups")
    beside = backup.with_name(f"{backup.name}{side}")
    beside.touch()
    refuse_unfinished(backup, file)
    beside.write_bytes(b"x")
    with pytest.raises(OperationRefused, match=f"has {beside.name} beside it"):
        restore(backup, file, None, None)


def test_a_single_table_without_a_row_is_worth_a_backup(tmp_path: Path) -> None:
    backup = legacy_database.make(tmp_path / "saved.db")
    execute(tmp_path / "d.db", "CREATE TABLE t (x)")
    replaced = restore(backup, tmp_path / "d.db", tmp_path / "backups", None)
    assert replaced is not None
    assert row_hashes(replaced).keys() == {"t"}


def test_what_is_replaced_by_other_pages_can_be_rolled_back(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = make_backup(file, "0001", file.parent / "backups")
    execute(backup, "PRAGMA journal_mode = delete; PRAGMA page_size = 1024; VACUUM")
    journals: list[bool] = []

    @contextmanager
    def look(_label: str) -> Iterator[Callable[[float], None]]:
        yield lambda _share: journals.append(file.with_name(f"{file.name}-journal").exists())

    monkeypatch.setattr(online_copy, "_PAGES_A_STEP", 5)
    monkeypatch.setattr(online_copy, "progress_line", look)
    restore(backup, file, None, None)
    assert True in journals
    assert row_hashes(file) == row_hashes(backup)


def test_an_empty_file_is_replaced_without_a_backup(tmp_path: Path) -> None:
    backup = legacy_database.make(tmp_path / "saved.db")
    (tmp_path / "d.db").touch()
    assert restore(backup, tmp_path / "d.db", tmp_path / "backups", None) is None
    assert row_hashes(tmp_path / "d.db") == row_hashes(backup)


def test_a_restore_begins_only_if_there_is_space_for_it_and_for_what_it_replaces(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = file.parent / "backups"
    backup = make_backup(file, "0001", folder)
    write(file)
    before = row_hashes(file)
    needed = file.stat().st_size + backup.stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(OperationRefused, match="are needed"):
        restore(backup, file, folder, "0001")
    assert list(folder.iterdir()) == [backup]
    assert row_hashes(file) == before


def test_a_new_file_needs_space_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = legacy_database.make(tmp_path / "saved.db")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(OperationRefused, match=r"0\.0 MiB free"):
        restore(backup, tmp_path / "d.db", None, None)
    assert not (tmp_path / "d.db").exists()
    enough = SimpleNamespace(free=backup.stat().st_size)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: enough)
    assert restore(backup, tmp_path / "d.db", None, None) is None


@needs_root
def test_a_backup_need_not_be_writable(reachable: Path) -> None:
    backups, home = reachable / "backups", reachable / "home"
    backups.mkdir()
    home.mkdir()
    backup = legacy_database.make(backups / "saved.db")
    backup.chmod(0o444)
    backups.chmod(0o555)
    os.chown(home, OWNER, OWNER)
    run_as(OWNER, partial(refuse_unfinished, backup, home / "d.db"))


def test_a_database_that_others_hold_is_named(
    deployed_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0.1")
    backup = make_backup(deployed_file, "0001", tmp_path / "backups")
    with closing(sqlite3.connect(deployed_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        said = f"^{deployed_file} is locked by another process .*; nothing was restored$"
        with pytest.raises(OperationRefused, match=said):
            restore(backup, deployed_file, None, None)
