"""A reported backup or restore survives a power cut: contents, names and folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shortsdb.errors import OperationRefused
from shortsdb.sqlite import online_copy
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.files import fsync
from shortsdb.sqlite.restore import restore

if TYPE_CHECKING:
    import sqlite3


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Return the calls that name something or make it durable, as they really happen."""
    made: list[tuple[str, Path]] = []
    fsync, rename, mkdir = os.fsync, os.rename, os.mkdir

    def at(descriptor: int) -> Path:
        return Path(f"/proc/self/fd/{descriptor}").readlink()

    def record_fsync(descriptor: int) -> None:
        made.append(("fsync", at(descriptor)))
        fsync(descriptor)

    def record_rename(source: Any, to: Any, **options: Any) -> None:  # noqa: ANN401 - handed on
        made.append(("name", at(options["dst_dir_fd"]) / to))
        rename(source, to, **options)

    def record_mkdir(name: Any, mode: int, **options: Any) -> None:  # noqa: ANN401 - handed on
        made.append(("folder", at(options["dir_fd"]) / name if options else Path(name)))
        mkdir(name, mode, **options)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "rename", record_rename)
    monkeypatch.setattr(os, "mkdir", record_mkdir)
    return made


def test_a_backup_in_a_new_folder(
    deployed_file: Path, tmp_path: Path, calls: list[tuple[str, Path]]
) -> None:
    backup = make_backup(deployed_file, "0001", tmp_path / "backups")
    assert calls == [
        ("folder", tmp_path / "backups"),
        ("fsync", tmp_path),
        ("fsync", backup.with_name(f"{backup.name}.partial")),
        ("name", backup),
        ("fsync", backup.parent),
    ]


def test_no_file_stays_open(deployed_file: Path, tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are compared
    backup = make_backup(deployed_file, "0001", tmp_path / "backups")
    restore(backup, tmp_path / "new.db", None, None)
    fsync(backup)
    fsync(tmp_path)
    with pytest.raises(OperationRefused, match="was replaced by another file"):
        online_copy.connect_read_only(deployed_file, backup.stat())
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - as above


def test_a_restore_to_a_new_file(
    deployed_file: Path,
    tmp_path: Path,
    calls: list[tuple[str, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synchronous = []
    copy_pages = online_copy.copy_pages

    def look(source: sqlite3.Connection, target: sqlite3.Connection, label: str) -> None:
        synchronous.append(target.execute("PRAGMA synchronous").fetchone())
        copy_pages(source, target, label)

    monkeypatch.setattr("shortsdb.sqlite.restore.copy_pages", look)
    new = tmp_path / "new" / "d.db"
    new.parent.mkdir()
    calls.clear()
    restore(deployed_file, new, None, None)
    assert calls == [("fsync", new.parent)]
    assert synchronous == [(3,)]  # EXTRA: the folder too, once the journal is deleted
