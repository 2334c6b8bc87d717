"""What a user may not do with a file, its folder or its disk is refused before it is tried."""

from __future__ import annotations

import os
import pwd
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from inspect_sqlite import execute
from other_user import MEMBER, OWNER, STRANGER, TEAM, needs_root, run_as

from shortsdb.errors import OperationRefused
from shortsdb.sqlite import file_checks
from shortsdb.sqlite.file_checks import (
    CHANGE_BYTES,
    existing,
    refuse_shared_folder,
    refuse_unusable_file,
    refuse_without_space,
)

MIB = 2**20


@needs_root
@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "read", "changed"),
    [
        (0o700, 0o666, "no permission to access the folder", "no permission to access the folder"),
        (0o777, 0o600, "no permission to read it", "no permission to read it"),
        (0o777, 0o644, None, "the file or its file system is read-only for this user"),
        (0o555, 0o666, None, "cannot be written, and SQLite needs its journal there"),
        (0o555, None, None, "cannot be written, and SQLite needs its journal there"),
        (0o777, 0o666, None, None),
        (0o777, None, None, None),
    ],
)
def test_a_file_of_another_user(
    reachable: Path, folder_mode: int, file_mode: int | None, read: str | None, changed: str | None
) -> None:
    file = reachable / "folder" / "x.db"
    file.parent.mkdir()
    if file_mode is not None:
        execute(file, "CREATE TABLE t (a)")
        file.chmod(file_mode)
    file.parent.chmod(folder_mode)
    for changes, refusal in ((False, read), (True, changed)):
        use = partial(refuse_unusable_file, file, changes=changes, in_use=False)
        if refusal is None:
            run_as(MEMBER, use)
        else:
            with pytest.raises(OperationRefused, match=refusal):
                run_as(MEMBER, use)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    file = tmp_path / "none" / "nor this" / "x.db"
    refuse_unusable_file(file, changes=False)
    with pytest.raises(OperationRefused, match="nor this does not exist; check the path"):
        refuse_unusable_file(file, changes=True)
    assert existing(file.parent) == existing(tmp_path) == tmp_path
    assert existing(Path("none/nor this")) == Path()


@needs_root
@pytest.mark.parametrize(
    ("mode", "side", "folder"),
    [(0o666, "", 0o777), (0o644, "-shm", 0o777), (0o644, "", 0o755)],
)
def test_side_files_that_lock_nobody_out(
    reachable: Path, mode: int, side: str, folder: int
) -> None:
    file = reachable / "folder" / "x.db"
    file.parent.mkdir()
    file.parent.chmod(folder)
    execute(file, "PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
    os.chown(file, OWNER, OWNER)
    file.chmod(mode)
    if side:
        file.with_name(f"x.db{side}").touch()
    run_as(MEMBER, partial(refuse_unusable_file, file, changes=False))


@needs_root
def test_side_files_of_a_group_that_the_owner_belongs_to(reachable: Path) -> None:
    # Groups are those of the system, so the owner must be a user of it.
    owner = pwd.getpwnam("nobody")
    file = reachable / "folder" / "x.db"
    file.parent.mkdir()
    execute(file, "PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
    file.chmod(0o664)
    for path in (file.parent, file):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    file.parent.chmod(0o2775)  # new files get the group of the folder, not that of who makes them
    run_as(MEMBER, partial(refuse_unusable_file, file, changes=False), owner.pw_gid)


@needs_root
def test_a_program_that_fails_says_nothing_of_side_files(
    reachable: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program = reachable / "program"
    program.write_text("#!/bin/sh\necho it failed >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(file_checks, "interpreter", lambda: str(program))
    file = reachable / "folder" / "x.db"
    file.parent.mkdir()
    file.parent.chmod(0o777)
    execute(file, "CREATE TABLE t (a)")
    run_as(MEMBER, partial(refuse_unusable_file, file, changes=False))
    assert capfd.readouterr().err == ""


@needs_root
@pytest.mark.parametrize(
    ("owner", "mode", "refused"),
    [
        (0, 0o755, False),
        (0, 0o775, True),
        (0, 0o757, True),
        (0, 0o1777, False),
        (OWNER, 0o755, True),
        (OWNER, 0o1777, True),
    ],
)
def test_root_does_not_write_where_others_rename_files(
    reachable: Path,
    owner: int,
    mode: int,
    refused: bool,  # noqa: FBT001 - a parameter of pytest's
) -> None:
    os.chown(reachable, owner, TEAM)
    reachable.chmod(mode)
    run_as(STRANGER, partial(refuse_shared_folder, reachable))
    if refused:
        with pytest.raises(OperationRefused, match="can be changed by other users"):
            refuse_shared_folder(reachable)
    else:
        refuse_shared_folder(reachable)


@pytest.mark.parametrize(
    ("folder", "needed"),
    [
        (None, {"file": CHANGE_BYTES}),
        ("beside", {"beside": 3 * MIB + CHANGE_BYTES}),
        ("/dev/shm", {"/dev/shm": 3 * MIB, "file": CHANGE_BYTES}),  # noqa: S108 - another disk
    ],
)
def test_the_space_for_the_backup_and_the_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str | None, needed: dict[str, int]
) -> None:
    (tmp_path / "beside").mkdir()
    copies = None if folder is None else tmp_path / folder
    names = {tmp_path: "file", tmp_path / "beside": "beside", Path("/dev/shm"): "/dev/shm"}  # noqa: S108
    missing = dict.fromkeys(needed, 0)
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda path: SimpleNamespace(free=needed[names[path]] - missing[names[path]]),
    )
    refuse_without_space(tmp_path / "x.db", copies, 3 * MIB)
    for name, size in needed.items():
        missing[name] = MIB
        wanted = f"{(size - MIB) / MIB:.1f} MiB free and {size / MIB:.1f} MiB are needed"
        with pytest.raises(OperationRefused, match=wanted) as caught:
            refuse_without_space(tmp_path / "x.db", copies, 3 * MIB)
        # Another folder helps if it is the backup that is too large.
        assert ("another folder" in str(caught.value)) == (name != "file")
        missing[name] = size - CHANGE_BYTES + 1
        with pytest.raises(OperationRefused, match="are needed") as caught:
            refuse_without_space(tmp_path / "x.db", copies, 3 * MIB)
        assert ("another folder" in str(caught.value)) == (name == "/dev/shm")  # noqa: S108 - as above
        missing[name] = 0


def test_the_space_for_a_folder_that_is_yet_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {tmp_path: 3 * MIB + CHANGE_BYTES}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free[path]))
    refuse_without_space(tmp_path / "x.db", tmp_path / "backups", 3 * MIB)
    with pytest.raises(OperationRefused, match=f"{tmp_path} has 4.0 MiB free and 5.0 MiB are"):
        refuse_without_space(tmp_path / "x.db", tmp_path / "backups", 4 * MIB)
