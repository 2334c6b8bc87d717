"""Copies of a database that is in use: locks, damage, and side files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from inspect_sqlite import execute, row_hashes

from shortsdb.errors import OperationRefused
from shortsdb.sqlite import online_copy
from shortsdb.sqlite.backup import make_backup, refuse_damaged
from shortsdb.sqlite.file_checks import CHANGE_BYTES
from shortsdb.sqlite.files import NewFile, identity, open_files, open_folder, refuse_other_file
from shortsdb.sqlite.online_copy import (
    _OvertakenError,
    connect_new,
    connect_read_only,
    copy_pages,
    copy_to_new,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.mark.timeout(60)
def test_waiting_for_a_lock_during_a_copy_is_bounded(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0.2")
    monkeypatch.setattr(online_copy, "_PAGES_A_STEP", 1)
    folder = deployed_file.parent / "backups"
    with closing(sqlite3.connect(deployed_file, isolation_level=None)) as other:
        shown: list[float] = []

        @contextmanager
        def lock_after_the_first_step(_label: str) -> Iterator[Callable[[float], None]]:
            def show(share: float) -> None:
                if not shown:
                    other.execute("BEGIN EXCLUSIVE")
                shown.append(share)

            yield show

        monkeypatch.setattr(online_copy, "progress_line", lock_after_the_first_step)
        with pytest.raises(OperationRefused, match="is locked by another process for longer than"):
            make_backup(deployed_file, "0001", folder)
        other.execute("ROLLBACK")
    assert len(shown) == 1
    assert not list(folder.iterdir())


def test_a_long_copy_waits_for_a_lock_as_long_as_a_short_one(
    deployed_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step takes 2 of 5 seconds; another process locks the file after the fifth."""
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "5")
    monkeypatch.setattr(online_copy, "_PAGES_A_STEP", 1)
    now = 0
    with closing(sqlite3.connect(deployed_file, isolation_level=None)) as other:

        def monotonic() -> float:
            if other.in_transaction:
                other.execute("ROLLBACK")
            return now

        @contextmanager
        def take_time(_label: str) -> Iterator[Callable[[float], None]]:
            def show(_share: float) -> None:
                nonlocal now
                now += 2
                if now == 10:
                    other.execute("BEGIN EXCLUSIVE")

            yield show

        monkeypatch.setattr(online_copy, "progress_line", take_time)
        monkeypatch.setattr(online_copy, "time", SimpleNamespace(monotonic=monotonic))
        with (
            closing(connect_read_only(deployed_file)) as source,
            closing(sqlite3.connect(tmp_path / "copy.db")) as target,
        ):
            copy_pages(source, target, "copy")
    assert now > 10
    assert row_hashes(tmp_path / "copy.db") == row_hashes(deployed_file)


@pytest.mark.parametrize(("writes", "restarts"), [(2, 3), (3, 3)])
def test_a_copy_that_is_restarted_too_often_is_given_up(
    deployed_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
    restarts: int,
) -> None:
    monkeypatch.setattr(online_copy, "_PAGES_A_STEP", 1)
    monkeypatch.setattr(online_copy, "_RESTARTS", restarts)
    shown: list[float] = []

    @contextmanager
    def write_after_each_step(_label: str) -> Iterator[Callable[[float], None]]:
        def show(share: float) -> None:
            shown.append(share)
            if len(shown) <= writes:
                execute(deployed_file, "UPDATE clips SET rank_position = rank_position + 1")

        yield show

    monkeypatch.setattr(online_copy, "progress_line", write_after_each_step)
    with (
        closing(sqlite3.connect(deployed_file)) as source,
        closing(sqlite3.connect(tmp_path / "copy.db")) as target,
    ):
        if writes < restarts:
            copy_pages(source, target, "")
            assert row_hashes(tmp_path / "copy.db") == row_hashes(deployed_file)
        else:
            with pytest.raises(_OvertakenError):
                copy_pages(source, target, "")
            assert len(shown) == restarts


def test_damage_reported_by_quick_check_is_found(deployed_file: Path) -> None:
    execute(deployed_file, "CREATE TABLE gone (x); DROP TABLE gone; VACUUM")
    with deployed_file.open("r+b") as raw:
        raw.seek(36)  # how many pages are free, https://sqlite.org/fileformat.html
        raw.write((5).to_bytes(4, "big"))
    with closing(sqlite3.connect(deployed_file)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() != ("ok",)
    folder = deployed_file.parent / "backups"
    found = r"deployed\.db is damaged: [^*]+; nothing was changed"
    with pytest.raises(OperationRefused, match=found):
        make_backup(deployed_file, "0001", folder)
    assert not list(folder.iterdir())


def test_checking_for_damage_leaves_no_side_files(deployed_file: Path) -> None:
    execute(deployed_file, "PRAGMA journal_mode = WAL")
    refuse_damaged(deployed_file, "it")
    backup = make_backup(deployed_file, "0001", deployed_file.parent / "backups")
    assert list(backup.parent.iterdir()) == [backup]
    deployed_file.with_name("deployed.db-wal").unlink(missing_ok=True)
    deployed_file.with_name("deployed.db-shm").unlink(missing_ok=True)
    refuse_damaged(deployed_file, "it")
    assert not list(deployed_file.parent.glob("*-*"))


def test_a_read_only_connection_cannot_write(deployed_file: Path) -> None:
    for immutable in (False, True):
        with (
            closing(connect_read_only(deployed_file, immutable=immutable)) as connection,
            pytest.raises(sqlite3.OperationalError, match="readonly"),
        ):
            connection.execute("DELETE FROM clips")


def test_a_replaced_path_is_detected(deployed_file: Path, tmp_path: Path) -> None:
    expected = deployed_file.stat()
    other = tmp_path / "other.db"
    execute(other, "CREATE TABLE t (x)")
    deployed_file.rename(tmp_path / "aside.db")
    deployed_file.symlink_to(other)
    before = open_files()
    for connect in (connect_read_only, connect_new):
        with pytest.raises(OperationRefused, match="was replaced by another file at the same time"):
            connect(deployed_file, expected)
    assert open_files() == before  # and it is closed again
    # It is refused even if this process has the expected file open.
    with closing(sqlite3.connect(tmp_path / "aside.db")) as connection:
        connection.execute("SELECT * FROM clips").fetchone()
        with pytest.raises(OperationRefused, match="was replaced by another file at the same time"):
            connect_read_only(deployed_file, expected)
    (tmp_path / "gone.db").unlink(missing_ok=True)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        connect_new(tmp_path / "gone.db", expected)
    assert not (tmp_path / "gone.db").exists()


def test_a_reused_descriptor_is_accepted(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    open_before = os.open(tmp_path / "c", os.O_RDONLY)
    first = os.open(tmp_path / "a", os.O_RDONLY)
    before = open_files()
    assert before[first] == identity((tmp_path / "a").stat())
    os.close(first)
    second = os.open(tmp_path / "b", os.O_RDONLY)
    try:
        refuse_other_file(before, (tmp_path / "b").stat(), tmp_path / "b")
        for name in "ac":
            with pytest.raises(OperationRefused):
                refuse_other_file(before, (tmp_path / name).stat(), tmp_path / name)
    finally:
        os.close(second)
        os.close(open_before)


def test_a_replaced_new_file_is_not_renamed(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        with NewFile.create(tmp_path / "new", folder) as new:
            new.path.unlink()
            new.path.write_text("of another user")
            with pytest.raises(OperationRefused, match="was replaced by another file"):
                new.rename("final")
        with pytest.raises(FileExistsError):
            NewFile.create(tmp_path / "final", folder)


def test_the_copy_has_the_rows(deployed_file: Path) -> None:
    backup = make_backup(deployed_file, "0001", deployed_file.parent / "backups")
    assert row_hashes(backup) == row_hashes(deployed_file)


def new_file(folder: Path, descriptor: int) -> NewFile:
    return NewFile.create(folder / "copy.db", descriptor)


def test_what_a_failed_copy_by_hand_has_left_is_not_part_of_the_next(
    deployed_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_sqlite, tried = online_copy._copy_by_sqlite, list[str]()  # noqa: SLF001 - the second way

    def overtaken(source: sqlite3.Connection, copy: NewFile, label: str) -> None:
        tried.append("by SQLite")
        if len(tried) == 1:
            raise _OvertakenError
        by_sqlite(source, copy, label)

    def fail(*arguments: object) -> bool:
        tried.append("by hand")
        os.pwrite(arguments[3].descriptor, b"half of a page" * 99, 0)  # type: ignore[attr-defined]
        return False

    monkeypatch.setattr(online_copy, "_copy_by_sqlite", overtaken)
    monkeypatch.setattr(online_copy, "_copy_by_hand", fail)
    with (
        closing(connect_read_only(deployed_file)) as source,
        open_folder(tmp_path) as folder,
        new_file(tmp_path, folder) as copy,
    ):
        copy_to_new(source, deployed_file, deployed_file.stat(), copy, "copy")
        assert row_hashes(copy.path) == row_hashes(deployed_file)
        assert not source.in_transaction
    assert tried == ["by SQLite", "by hand", "by SQLite"]


def test_a_frozen_application_is_not_taken_for_an_interpreter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert online_copy.interpreter() == sys.executable
    monkeypatch.setattr(sys, "frozen", True, raising=False)  # as PyInstaller does
    assert online_copy.interpreter() is None


def test_nothing_of_the_environment_runs_in_the_copying_process(
    deployed_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, ran = tmp_path / "modules", tmp_path / "ran"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(f"open({str(ran)!r}, 'w').close()")
    monkeypatch.setenv("PYTHONPATH", str(modules))
    with (
        closing(connect_read_only(deployed_file)) as source,
        open_folder(tmp_path) as folder,
        new_file(tmp_path, folder) as copy,
    ):
        found = deployed_file.stat()
        assert online_copy._copy_by_hand(source, deployed_file, found, copy, "copy")  # noqa: SLF001 - as above
        assert copy.path.read_bytes() == deployed_file.read_bytes()
        assert not source.in_transaction  # it would block writers while the copy is checked
    assert not ran.exists()


def test_a_backup_begins_only_if_there_is_space_for_all_pages(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, folder = deployed_file.stat().st_size, deployed_file.parent / "backups"
    free = size + CHANGE_BYTES - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(OperationRefused, match="are needed for the backup"):
        make_backup(deployed_file, "0001", folder)
    assert not list(folder.iterdir())
    free += 1
    assert make_backup(deployed_file, "0001", folder).stat().st_size == size


@pytest.mark.parametrize("name", ["a b%41.db", "a?mode=memory", "a#b&c.db", "\udcff.db"])
def test_a_path_may_have_any_characters(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    execute(file, "CREATE TABLE t (a)")
    with closing(connect_read_only(file)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
    assert list(tmp_path.iterdir()) == [file]
