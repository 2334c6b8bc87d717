"""Root backs up and restores a database while its owner replaces names by links in a loop.

No file of root's may change, and none of its content may become readable for the owner.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import legacy_database
import pytest
from inspect_sqlite import execute, file_hash
from other_user import OWNER, needs_root

from shortsdb.errors import OperationRefused
from shortsdb.sqlite import online_copy
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.backup_files import backups_of
from shortsdb.sqlite.restore import restore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Attack = Callable[[str], subprocess.Popen[bytes]]

pytestmark = needs_root

ROUNDS = int(os.environ.get("SHORTSDB_TEST_ROUNDS", "20"))
SECRET = "only for root"  # noqa: S105 - in a test


@pytest.fixture
def folder(reachable: Path) -> Path:
    """Return a folder that belongs to OWNER, with a database in it."""
    folder = reachable / "home"
    (folder / "backups").mkdir(parents=True)
    legacy_database.make(folder / "d.db", rows=20)
    for path in (folder, folder / "backups", folder / "d.db"):
        os.chown(path, OWNER, OWNER)
    return folder


@pytest.fixture
def victim(reachable: Path) -> Path:
    """Return a database that only root can read."""
    victim = reachable / "root" / "victim.db"
    victim.parent.mkdir(mode=0o700)
    execute(victim, f"CREATE TABLE secrets (secret); INSERT INTO secrets VALUES ('{SECRET}')")
    victim.chmod(0o600)
    return victim


@pytest.fixture
def attack(folder: Path, victim: Path) -> Iterator[Attack]:
    """Return a function that starts the owner's program."""
    started: list[subprocess.Popen[bytes]] = []

    def start(family: str) -> subprocess.Popen[bytes]:
        program = Path(__file__).with_name("hostile_owner.py")
        command = [sys.executable, str(program), str(folder), str(victim), str(OWNER), family]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        return process

    yield start
    for process in started:
        assert process.poll() is None, "it did not attack to the end"
        process.kill()
        process.communicate()


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return the state of the files in a folder of root."""
    return {
        path.name: (*path.stat()[:1], *path.stat()[4:6], file_hash(path))
        for path in folder.iterdir()
    }


def read_by_owner(folder: Path, attacker: subprocess.Popen[bytes]) -> bytes:
    """Stop the attacker, and return what the owner can read in the folder, but for links."""
    attacker.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, attacker.pid, os.WSTOPPED)
    return b"".join(
        path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_uid == OWNER
    )


@pytest.mark.parametrize("family", ["partial", "folder", "database"])
def test_a_backup_beside_a_hostile_owner(
    folder: Path, victim: Path, attack: Attack, family: str
) -> None:
    before = state(victim.parent)
    attacker = attack(family)
    for _ in range(ROUNDS):
        with suppress(OperationRefused):
            make_backup(folder / "d.db", "0001", folder / "backups")
    assert state(victim.parent) == before
    assert SECRET.encode() not in read_by_owner(folder, attacker)


def test_a_restore_beside_a_hostile_owner(folder: Path, victim: Path, attack: Attack) -> None:
    backup = make_backup(folder / "d.db", "0001", folder / "backups")
    before = state(victim.parent)
    attack("database")
    for _ in range(ROUNDS):
        with suppress(OperationRefused):
            restore(backup, folder / "d.db", None, None)
    assert state(victim.parent) == before


def swapped(partial: Path) -> None:
    """Wait until the owner has placed a link at the path."""
    while not partial.is_symlink():
        pass


def test_a_link_at_the_worst_moment(
    folder: Path,
    victim: Path,
    attack: Attack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The path is a link at the moment when SQLite opens it."""
    before = state(victim.parent)
    copy_to_new = online_copy.copy_to_new

    def wait(*arguments: Any) -> None:  # noqa: ANN401 - as they are
        swapped(arguments[3].path)
        copy_to_new(*arguments)

    monkeypatch.setattr("shortsdb.sqlite.backup.copy_to_new", wait)
    attack("partial")
    with pytest.raises(OperationRefused, match="was replaced by another file at the same time"):
        make_backup(folder / "d.db", "0001", folder / "backups")
    assert state(victim.parent) == before


def test_control_a_program_that_trusts_paths_is_detected(
    folder: Path, victim: Path, attack: Attack
) -> None:
    """The control: a copy that uses paths overwrites the file of root."""
    before = state(victim.parent)
    partial = folder / "backups" / "d.db.partial"
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
    attack("partial")
    swapped(partial)
    with (
        closing(sqlite3.connect(folder / "d.db")) as source,
        closing(sqlite3.connect(partial)) as target,
    ):
        source.backup(target)
    assert state(victim.parent) != before


def test_a_link_is_not_followed_for_root(folder: Path, victim: Path) -> None:
    (folder / "backups").rmdir()
    (folder / "backups").symlink_to(victim.parent)
    with pytest.raises(OperationRefused, match="is a link, which is not followed for root"):
        make_backup(folder / "d.db", "0001", folder / "backups")
    assert backups_of(folder / "d.db", victim.parent) == []
    assert [path.name for path in victim.parent.iterdir()] == ["victim.db"]
