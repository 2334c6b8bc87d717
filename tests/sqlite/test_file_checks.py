"""Paths that cannot or must not become a database are refused before anything is opened."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import legacy_database
import pytest
from inspect_sqlite import execute, file_hash, row_hashes
from other_user import MEMBER, OWNER, TEAM, needs_root
from project import PROGRAMS
from sqlalchemy.exc import OperationalError

from shortsdb.database import init_db
from shortsdb.engine import create_engine
from shortsdb.errors import OperationRefused
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.file_checks import refuse_unusable_file
from shortsdb.sqlite.restore import restore
from shortsdb.transfer.invalid_rows import collecting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project import Program


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/null")


def folder(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


def circle(path: Path) -> None:
    path.symlink_to(path)


KINDS: list[tuple[Callable[[Path], None], str]] = [
    (fifo, "is a FIFO"),
    (device, "is a device"),
    (folder, "is a folder"),
    (unix_socket, "is a socket"),
    (circle, "Too many levels of symbolic links"),
]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAMS / "shortsdb", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(("make", "phrase"), KINDS)
def test_only_regular_files_are_accepted_as_databases(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], None],
    phrase: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path, file = tmp_path / "d.db", legacy_database.make(tmp_path / "deployed.db")
    make(path)
    before = os.lstat(path), file_hash(file)
    for refused in (
        lambda: init_db(path),
        lambda: make_backup(path, None, tmp_path / "backups"),
        lambda: restore(path, file, None, None),
        lambda: restore(file, path, None, None),
    ):
        with pytest.raises(OperationRefused, match=phrase):
            refused()
    assert (os.lstat(path), file_hash(file)) == before
    assert names(tmp_path) == ["d.db", "deployed.db"]


@pytest.mark.parametrize("arguments", [["status"], ["upgrade"], ["backup"], ["check"]])
def test_commands_do_not_wait_for_a_fifo(tmp_path: Path, arguments: list[str]) -> None:
    fifo(tmp_path / "d.db")
    done = run(*arguments, "--url", tmp_path / "d.db")
    assert done.returncode == 1
    assert "is a FIFO, not a database file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("make", "phrase"), [*KINDS[:1], *KINDS[2:4], (device, "is a link")])
def test_skipped_rows_are_written_to_regular_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], phrase: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "left-out.jsonl"
    make(path)
    before = os.lstat(path)
    with pytest.raises(OperationRefused, match=f"{phrase}, which is not replaced"):
        collecting(path).__enter__()
    assert os.lstat(path) == before
    assert names(tmp_path) == [path.name]


def test_a_nul_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "d\0.db", tmp_path / "a\0b" / "d.db"):
        with pytest.raises(OperationRefused):
            refuse_unusable_file(path, changes=True)
    with pytest.raises(OperationRefused, match="contains a NUL"):
        refuse_unusable_file(tmp_path / "d\0.db", changes=True)


@pytest.fixture(params=["-wal", "-journal"])
def orphan(deployed_file: Path, request: pytest.FixtureRequest) -> Path:
    """Return the path of a database that was moved away without its file of recent rows."""
    journal = "wal" if request.param == "-wal" else "delete"
    execute(deployed_file, f"PRAGMA journal_mode = {journal}")
    with closing(sqlite3.connect(deployed_file, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_spill = 1")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE clips SET rank_position = 4711")
        connection.execute(f"UPDATE pipeline_runs SET niche = '{'x' * 50_000}'")
        if journal == "wal":
            connection.execute("COMMIT")
        beside = deployed_file.with_name(deployed_file.name + request.param)
        content = beside.read_bytes()
    assert content
    beside.write_bytes(content)
    deployed_file.rename(deployed_file.with_name("moved.db"))
    return deployed_file


def test_no_database_is_created_beside_an_orphaned_journal(
    orphan: Path, alembic: Program, tmp_path: Path
) -> None:
    (beside,) = tmp_path.glob("deployed.db-*[!m]")
    before = beside.read_bytes()
    source = make_backup(orphan.with_name("moved.db"), "0001", tmp_path / "backups")
    for refused in (
        lambda: init_db(orphan),
        lambda: restore(source, orphan, None, None),
    ):
        with pytest.raises(OperationRefused, match=f"does not exist, but {beside.name} does"):
            refused()
    with pytest.raises(OperationalError, match=f"does not exist, but {beside.name} does"):
        create_engine(orphan).connect()
    done = alembic("-x", f"url={orphan}", "upgrade", "head")
    assert done.returncode
    assert f"does not exist, but {beside.name} does" in done.stdout
    assert beside.read_bytes() == before
    assert not orphan.exists()


def test_an_empty_journal_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "d.db-wal").touch()
    init_db(tmp_path / "d.db").dispose()


def as_user(user: int, *arguments: str | Path, group: int) -> subprocess.CompletedProcess[str]:
    """Run the command as another user, with read access only.

    Reading: a Python in the home of root must start.
    """
    drop = [f"--reuid={user}", f"--regid={user}", f"--groups={group}"]
    caps = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    return subprocess.run(
        ["setpriv", *drop, *caps, PROGRAMS / "shortsdb", *arguments],  # noqa: S607 - Debian's
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def shared(reachable: Path) -> Path:
    """Return a database of OWNER in WAL mode, in a folder that TEAM may write to."""
    home = reachable / "home"
    home.mkdir()
    file = legacy_database.make(home / "d.db")
    execute(file, "PRAGMA journal_mode = WAL")
    for path, mode in ((home, 0o775), (file, 0o664)):
        os.chown(path, OWNER, TEAM)
        path.chmod(mode)
    return file


def owner_writes(file: Path) -> str:
    sql = "UPDATE clips SET rank_position = 1"
    program = f"import sqlite3; c = sqlite3.connect({str(file)!r}); c.execute({sql!r}); c.commit()"
    drop = [f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"]
    caps = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    return subprocess.run(
        ["setpriv", *drop, *caps, PROGRAMS / "python", "-c", program],  # noqa: S607 - Debian's
        capture_output=True,
        text=True,
        check=False,
    ).stderr


@needs_root
@pytest.mark.parametrize("command", ["status", "backup"])
def test_another_member_of_the_group_does_not_lock_the_owner_out(
    shared: Path, command: str
) -> None:
    done = as_user(MEMBER, command, "--url", shared, group=TEAM)
    assert done.returncode == 1
    assert "belongs to another user, and is in WAL mode" in done.stderr
    assert [path.name for path in shared.parent.iterdir()] == ["d.db"]
    assert not owner_writes(shared)


@needs_root
@pytest.mark.parametrize("command", ["status", "backup"])
def test_a_file_with_a_rollback_journal_can_be_read_by_another_user(
    shared: Path, command: str
) -> None:
    execute(shared, "PRAGMA journal_mode = DELETE")
    done = as_user(MEMBER, command, "--url", shared, group=TEAM)
    assert done.returncode == 0, done.stderr
    assert not owner_writes(shared)


@needs_root
@pytest.mark.parametrize("command", ["status", "backup"])
def test_side_files_of_root_do_not_lock_the_owner_out(shared: Path, command: str) -> None:
    assert run(command, "--url", shared).returncode == 0
    beside = list(shared.parent.glob("d.db-*"))
    assert {(path.stat().st_uid, path.stat().st_gid) for path in beside} <= {(OWNER, TEAM)}
    assert not owner_writes(shared)
    assert row_hashes(shared)


@needs_root
def test_control_another_users_side_files_lock_the_owner_out(shared: Path) -> None:
    """Plain SQLite leaves side files that lock the owner out."""
    program = (
        "import sqlite3;"
        f"c = sqlite3.connect('file:{shared}?mode=ro', uri=True);"
        "c.execute('SELECT * FROM clips').fetchone(); c.close()"
    )
    drop = [f"--reuid={MEMBER}", f"--regid={MEMBER}", f"--groups={TEAM}"]
    caps = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    subprocess.run(
        ["setpriv", *drop, *caps, PROGRAMS / "python", "-c", program],  # noqa: S607 - Debian's
        check=True,
    )
    assert "OperationalError" in owner_writes(shared)
