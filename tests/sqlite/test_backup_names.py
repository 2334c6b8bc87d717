"""Backups are named and kept in the order of their creation, even if the clock is set back."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import legacy_database
import pytest
from inspect_sqlite import execute, row_hashes

from shortsdb.errors import OperationRefused
from shortsdb.settings import BACKUPS_KEPT as KEPT
from shortsdb.sqlite import backup_files
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.backup_files import backups_of, folder_for, keep_newest
from shortsdb.sqlite.files import NewFile


class BackwardClock(datetime):
    """A clock that is one day earlier at each call."""

    asked = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> BackwardClock:
        """Return the instant that it is."""
        cls.asked += 1
        return cls(2026, 1, 1, tzinfo=tz) - timedelta(days=cls.asked)


def make_and_prune(file: Path, revision: str = "0001") -> Path:
    made = make_backup(file, revision, file.parent / "backups")
    keep_newest(file, made)
    return made


def test_a_clock_set_back_does_not_delete_newer_backups(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deployed_file.parent / "backups"
    monkeypatch.setattr(BackwardClock, "asked", 0)
    monkeypatch.setattr(backup_files, "datetime", BackwardClock)
    made = [make_and_prune(deployed_file) for _ in range(KEPT + 3)]
    assert made == sorted(made)
    assert backups_of(deployed_file, folder) == made[-KEPT:]
    assert made[1].name == "deployed.0001-manual.20251231T000000000001Z.db"


def test_the_largest_backup_is_kept(deployed_file: Path) -> None:
    make_and_prune(deployed_file)
    execute(deployed_file, "CREATE TABLE large AS SELECT zeroblob(100000) AS x")
    largest = make_and_prune(deployed_file)
    execute(deployed_file, "DROP TABLE large; VACUUM")
    made = [make_and_prune(deployed_file) for _ in range(KEPT + 2)]
    assert backups_of(deployed_file, largest.parent) == [largest, *made[-KEPT:]]


def test_a_rule_that_is_none_is_refused_before_the_backup(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_BACKUP_KEEP", "some")
    with pytest.raises(OperationRefused, match="BACKUP_KEEP is 'some'"):
        make_backup(deployed_file, "0001", deployed_file.parent / "backups")
    assert not deployed_file.with_name("backups").exists()


def test_a_backup_from_the_future_does_not_hide_the_newest(deployed_file: Path) -> None:
    folder = deployed_file.parent / "backups"
    folder.mkdir()
    (folder / "deployed.0001.20990101T000000000000Z.db").touch()
    for name in ("deployed.0001.20261399T000000000000Z.db", "deployed.0001.20261399T0Z.db"):
        (folder / name).touch()  # no dates
    made = make_and_prune(deployed_file)
    assert made.name == "deployed.0001-manual.20990101T000000000001Z.db"
    assert backups_of(deployed_file, folder)[-1] == made


def test_the_backup_of_the_last_upgrade_is_kept(deployed_file: Path) -> None:
    folder = deployed_file.parent / "backups"
    older = make_and_prune(deployed_file, "0001")
    upgrades = make_and_prune(deployed_file, "0001")
    later = [make_and_prune(deployed_file, "0008") for _ in range(KEPT + 3)]
    assert backups_of(deployed_file, folder) == [upgrades, *later[-KEPT:]]
    assert not older.exists()
    # The next upgrade leaves one of 0008, which is the way back from then on.
    newest = [make_and_prune(deployed_file, "0009") for _ in range(KEPT)]
    assert backups_of(deployed_file, folder) == [later[-1], *newest]


@pytest.mark.parametrize("revision", ["x" * 300, "é" * 300, "a/../../b", "\0", "", "\n"])
def test_any_revision_gives_a_valid_name(deployed_file: Path, revision: str) -> None:
    made = make_backup(deployed_file, revision, deployed_file.parent / "backups")
    assert row_hashes(made) == row_hashes(deployed_file)
    assert made.name.isascii()
    assert made.parent == deployed_file.parent / "backups"
    assert backups_of(deployed_file, made.parent) == [made]


@pytest.mark.parametrize("folder", ["backups", "elsewhere"])
@pytest.mark.parametrize("name", ["x" * 241 + ".db", "é" * 120 + ".db", "x." + "y" * 240])
def test_a_long_database_name_gives_a_valid_name(
    deployed_file: Path, tmp_path: Path, name: str, folder: str
) -> None:
    file = deployed_file.rename(tmp_path / name)
    other = legacy_database.make(tmp_path / f"{name[:-5]}other")
    (tmp_path / folder).mkdir()
    made = make_backup(file, "r" * 300, tmp_path / folder)
    assert row_hashes(made) == row_hashes(file)
    assert backups_of(file, made.parent) == [made]
    assert backups_of(other, made.parent) == []
    unfinished = made.with_name(f"{made.name}.partial")
    unfinished.touch()
    os.utime(unfinished, (0, 0))
    keep_newest(file, made)
    assert list(made.parent.iterdir()) == [made]


@pytest.mark.parametrize("clock", [datetime, BackwardClock])
def test_a_name_used_by_another_process_is_not_reused(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch, clock: type[datetime]
) -> None:
    monkeypatch.setattr(BackwardClock, "asked", 0)
    monkeypatch.setattr(backup_files, "datetime", clock)
    used: list[Path] = []
    create = NewFile.create

    def finish_before(path: Path, folder: int) -> NewFile:
        if not used:
            used.append(path.with_suffix(""))
            used[0].write_text("of the other process")
        return create(path, folder)

    monkeypatch.setattr(NewFile, "create", finish_before)
    made = make_backup(deployed_file, "0001", deployed_file.parent / "backups")
    assert used[0].read_text() == "of the other process"
    assert sorted(made.parent.iterdir()) == [used[0], made]


@pytest.mark.parametrize("name", ["a+(b)[c.db", "a b%41.d+b", "^.*$"])
def test_a_name_may_have_any_characters(deployed_file: Path, name: str) -> None:
    file = deployed_file.rename(deployed_file.with_name(name))
    made = make_backup(file, "0001", file.parent / "backups")
    assert backups_of(file, made.parent) == [made]
    assert backups_of(file.with_name("abc.db"), made.parent) == []


def test_a_short_name_is_kept_as_it_is(deployed_file: Path, tmp_path: Path) -> None:
    file = deployed_file.rename(tmp_path / ("x" * 147 + ".db"))
    made = make_backup(file, "0001", tmp_path / "backups")
    assert made.name.startswith(f"{file.stem}.0001-manual.")
    assert made.suffix == ".db"


def test_a_backup_at_the_end_of_the_calendar_is_named(deployed_file: Path) -> None:
    folder = deployed_file.parent / "backups"
    folder.mkdir()
    last = folder / "deployed.0001.99991231T235959999999Z.db"
    last.touch()
    with pytest.raises(OperationRefused, match="has a date that no later backup can have"):
        make_backup(deployed_file, "0001", folder)
    assert list(folder.iterdir()) == [last]


def test_a_folder_with_a_tilde(deployed_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/somebody")
    assert folder_for(deployed_file, "~/backups") == Path("/home/of/somebody/backups")
    with pytest.raises(OperationRefused, match="there is no such user"):
        folder_for(deployed_file, "~nobody-at-all/backups")


def test_folder_of_backups(deployed_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(deployed_file.parent)
    assert folder_for(deployed_file, None) == deployed_file.parent / "backups"
    assert folder_for(deployed_file, "OFF") is None
    assert folder_for(deployed_file, "kept") == deployed_file.parent / "kept"


def test_what_nobody_has_written_to_for_an_hour_is_deleted(deployed_file: Path) -> None:
    made = make_backup(deployed_file, "0001", deployed_file.parent / "backups")
    now = time.time()
    unfinished = made.with_name(f"{made.name}.partial")
    for minutes, stays in ((59, True), (61, False)):
        unfinished.touch()
        os.utime(unfinished, (now, now - 60 * minutes))
        keep_newest(deployed_file, made)
        assert unfinished.exists() is stays


def test_a_link_is_no_backup(deployed_file: Path) -> None:
    made = make_backup(deployed_file, "0001", deployed_file.parent / "backups")
    made.with_name("deployed.0001-manual.20200101T000000000000Z.db").symlink_to(made)
    assert backups_of(deployed_file, made.parent) == [made]


def test_the_backup_of_a_link_is_one_of_the_file_behind(
    deployed_file: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(deployed_file)
    made = make_backup(link, "0001", deployed_file.parent / "backups")
    assert backups_of(deployed_file, made.parent) == [made]


def test_two_processes_delete_the_same_old_backup(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = deployed_file.parent / "backups"
    made = [make_backup(deployed_file, "0001", folder) for _ in range(KEPT + 1)]
    unlink = os.unlink

    def delete_twice(name: str, *, dir_fd: int) -> None:
        unlink(name, dir_fd=dir_fd)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", delete_twice)
    keep_newest(deployed_file, made[-1])
    assert backups_of(deployed_file, folder) == made[1:]
    assert not caplog.records  # nobody needs to look into this


def test_another_process_deletes_what_was_just_listed(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deployed_file.parent / "backups"
    made = [make_backup(deployed_file, "0001", folder) for _ in range(KEPT + 2)]
    unfinished = made[0].with_name(f"{made[0].name}.partial")
    unfinished.touch()
    list_backups, listdir = backup_files.list_backups, os.listdir

    def list_backups_and_lose(file: Path, folder: Path) -> list[backup_files.Backup]:
        found = list_backups(file, folder)
        found[0].path.unlink()
        return found

    def listdir_and_lose(folder: int | Path) -> list[str]:
        found = listdir(folder)
        if isinstance(folder, int):
            unfinished.unlink()
        return found

    monkeypatch.setattr(backup_files, "list_backups", list_backups_and_lose)
    monkeypatch.setattr(os, "listdir", listdir_and_lose)
    keep_newest(deployed_file, made[-1])
    monkeypatch.undo()
    assert sorted(folder.iterdir()) == made[-KEPT:]
