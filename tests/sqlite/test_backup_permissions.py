"""Only users who can read the database can read its backups."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import legacy_database
import pytest
from other_user import MEMBER, OWNER, STRANGER, TEAM, needs_root, run_as

from shortsdb.sqlite import online_copy
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.files import NewFile, make_folder, open_folder, share
from shortsdb.sqlite.restore import restore

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_root


@pytest.fixture
def home(reachable: Path) -> Iterator[Path]:
    """Return a folder that every user can reach, with the umask 0."""
    home = reachable / "home"
    home.mkdir()
    before = os.umask(0)
    yield home
    os.umask(before)


@pytest.fixture
def elsewhere(home: Path) -> Path:
    """Return a folder for backups that is not below `home`."""
    folder = home.parent / "elsewhere"
    folder.mkdir(mode=0o755)
    return folder


def database(home: Path, mode: int, group: int = OWNER) -> Path:
    """Make a database of OWNER."""
    file = legacy_database.make(home / "d.db")
    for path in (home, file):
        os.chown(path, OWNER, group)
    file.chmod(mode)
    return file


def can_read(path: Path, user: int, *groups: int) -> bool:
    def read() -> bool:
        try:
            with path.open("rb"):
                return True
        except PermissionError:
            return False

    return run_as(user, read, *groups)


def setfacl(*arguments: str | Path) -> None:
    subprocess.run(["setfacl", *arguments], check=True)  # noqa: S607 - Debian's


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_of_backups_is_for_the_group_of_the_folder_above(home: Path) -> None:
    file = database(home, 0o640, MEMBER)
    os.chown(home, OWNER, TEAM)
    home.chmod(0o770)
    found = make_backup(file, "0001", home / "backups").parent.stat()
    assert (found.st_uid, found.st_gid) == (OWNER, TEAM)
    assert stat.S_IMODE(found.st_mode) == 0o770


def test_a_backup_has_no_bit_by_which_a_program_changes_its_user(home: Path) -> None:
    file = database(home, 0o7640)
    assert mode_of(make_backup(file, "0001", home / "backups")) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o660, 0o666])
def test_a_backup_has_the_owner_group_and_mode_of_its_database(home: Path, mode: int) -> None:
    file = database(home, mode, TEAM)
    backup = make_backup(file, "0001", home / "backups")
    found = backup.stat()
    assert (found.st_uid, found.st_gid, mode_of(backup)) == (OWNER, TEAM, mode)
    for path in (file, backup):
        assert can_read(path, OWNER)
        assert can_read(path, MEMBER, TEAM) == bool(mode & 0o040)
        assert can_read(path, STRANGER) == bool(mode & 0o004)


@pytest.mark.parametrize(
    ("folder_mode", "folder_group", "expected"),
    [
        (0o700, OWNER, 0o600),
        (0o750, TEAM, 0o660),
        (0o750, OWNER, 0o600),  # those of TEAM are others to it
        (0o751, OWNER, 0o666),
        (0o711, OWNER, 0o666),
        (0o705, TEAM, 0o606),
    ],
)
def test_permissions_of_parent_folders_restrict_the_backup(
    home: Path, elsewhere: Path, folder_mode: int, folder_group: int, expected: int
) -> None:
    file = database(home, 0o666, TEAM)
    os.chown(home, OWNER, folder_group)
    home.chmod(folder_mode)
    backup = make_backup(file, "0001", elsewhere)
    assert mode_of(backup) == expected
    for user, groups in ((MEMBER, [TEAM]), (STRANGER, [])):
        assert can_read(backup, user, *groups) <= can_read(file, user, *groups)
    # Behind the same folders nothing needs to be taken away.
    assert mode_of(make_backup(file, "0001", home / "backups")) == 0o666


def test_a_backup_by_another_user_gives_a_foreign_group_no_access(home: Path) -> None:
    file = database(home, 0o640, TEAM)
    mine = home.parent / "mine"
    mine.mkdir()
    os.chown(mine, MEMBER, MEMBER)
    for groups, expected in (([TEAM], (TEAM, 0o660)), ([], (MEMBER, 0o606))):
        file.chmod(0o660 if groups else 0o666)
        backup = run_as(MEMBER, lambda: make_backup(file, "0001", mine), *groups)
        assert (backup.stat().st_gid, mode_of(backup)) == expected
        assert backup.stat().st_uid == MEMBER


def test_an_acl_mask_is_not_mistaken_for_group_permissions(home: Path) -> None:
    file = database(home, 0o600, TEAM)
    setfacl("-m", f"u:{STRANGER}:rw", file)
    assert mode_of(file) == 0o660  # the mask, in the place of the group
    assert not can_read(file, MEMBER, TEAM)
    backup = make_backup(file, "0001", home / "backups")
    assert mode_of(backup) == 0o600
    assert not can_read(backup, MEMBER, TEAM)


def test_an_acl_of_a_parent_folder_restricts_the_backup(home: Path, elsewhere: Path) -> None:
    file = database(home, 0o644)
    home.chmod(0o755)
    setfacl("-m", f"u:{STRANGER}:-", home)
    assert not can_read(file, STRANGER)
    backup = make_backup(file, "0001", elsewhere)
    assert not can_read(backup, STRANGER)


@pytest.mark.parametrize("made", [True, False], ids=["a folder that is there", "a new folder"])
def test_a_default_acl_gives_no_access_to_a_backup(home: Path, *, made: bool) -> None:
    file = database(home, 0o640)
    home.chmod(0o755)
    folder = home / "backups"
    if made:
        folder.mkdir(mode=0o755)
    setfacl("-d", "-m", f"u:{STRANGER}:rwx", folder if made else home)
    backup = make_backup(file, "0001", folder)
    assert mode_of(backup) == 0o640
    assert not can_read(backup, STRANGER)
    assert "system.posix_acl_access" not in os.listxattr(backup)
    assert os.listxattr(folder) == (["system.posix_acl_default"] if made else [])


@pytest.mark.parametrize(
    ("above", "expected"), [(0o1777, 0o755), (0o2770, 0o770), (0o700, 0o700), (0o777, 0o775)]
)
def test_others_cannot_write_to_a_new_backup_folder(home: Path, above: int, expected: int) -> None:
    file = database(home, 0o644, TEAM)
    home.chmod(above)
    folder = make_backup(file, "0001", home / "backups").parent
    assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == expected
    assert (folder.stat().st_uid, folder.stat().st_gid) == (OWNER, TEAM)


def test_an_unfinished_backup_is_private(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = database(home, 0o666)
    seen: list[tuple[int, int]] = []
    copy_to_new = online_copy.copy_to_new

    def look(
        source: sqlite3.Connection, file: Path, found: os.stat_result, copy: NewFile, label: str
    ) -> None:
        copy_to_new(source, file, found, copy, label)
        seen.append((mode_of(copy.path), copy.path.stat().st_size))

    monkeypatch.setattr("shortsdb.sqlite.backup.copy_to_new", look)
    make_backup(file, "0001", home / "backups")
    assert seen == [(0o600, file.stat().st_size)]


def test_a_restored_file_has_the_permissions_of_the_backup(home: Path) -> None:
    file = database(home, 0o640, TEAM)
    backup = make_backup(file, "0001", home / "backups")
    for mode, expected in ((0o755, 0o640), (0o700, 0o600)):
        backup.parent.chmod(mode)
        file.unlink()
        restore(backup, file, None, None)
        found = file.stat()
        assert (found.st_uid, found.st_gid, mode_of(file)) == (OWNER, TEAM, expected)


def test_a_default_acl_gives_no_access_to_a_restored_file(
    home: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = database(home, 0o640)
    backup = make_backup(file, "0001", elsewhere)
    file.unlink()
    setfacl("-d", "-m", f"u:{STRANGER}:rwx", home)
    before = []

    def look(descriptor: int, source: Path, found: os.stat_result, folder: Path) -> None:
        before.append(mode_of(file))
        share(descriptor, source, found, folder)

    monkeypatch.setattr("shortsdb.sqlite.restore.share", look)
    restore(backup, file, None, None)
    assert before == [0o600]
    assert mode_of(file) == 0o640
    assert not can_read(file, STRANGER)


def test_a_created_file_is_private(home: Path) -> None:
    setfacl("-d", "-m", f"u:{STRANGER}:rwx", home)
    with open_folder(home) as folder, NewFile.create(home / "new", folder) as new:
        os.fchmod(new.descriptor, 0o660)
        assert not can_read(new.path, STRANGER)
    assert not new.path.exists()


def test_a_link_beside_a_private_file_makes_no_public_copy(home: Path, elsewhere: Path) -> None:
    """The copy is behind the link, where the folder of the source keeps nobody out."""
    file = database(home, 0o644)
    home.chmod(0o700)
    link = home / "backups"
    link.symlink_to(elsewhere)
    with open_folder(elsewhere) as folder, NewFile.create(elsewhere / "copy", folder) as copy:
        share(copy.descriptor, file, file.stat(), link)
        assert mode_of(copy.path) == 0o600


def test_a_folder_that_cannot_be_made_is_an_error(home: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        make_folder(home / ("n" * 300), home.stat())
