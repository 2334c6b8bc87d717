"""Temporary folders are removed at the end, and by the next copy after a kill."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from project import PROGRAMS

from shortsdb.sqlite import scratch
from shortsdb.sqlite.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _typeshed import StrPath
    from postgresql_server import Database


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def abandon(parent: Path, prefix: str) -> None:
    """Make a folder with a file in it, in a process that is killed."""
    child = os.fork()
    if child == 0:
        with scratch_folder(parent, prefix) as folder:
            (folder / "file").write_bytes(b"x")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Check that the test leaves no file open."""
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are compared
    yield
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - as above


def test_the_folder_is_removed_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "a-") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "file").write_bytes(b"x")
        assert names(tmp_path) == [folder.name]
    assert names(tmp_path) == []
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path, "a-"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []
    with scratch_folder(tmp_path, "a-") as folder:
        folder.rmdir()  # as a program that tidies up temporary folders does
    assert names(tmp_path) == []


def test_a_folder_that_another_process_removes_at_once_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is locked, it looks like an abandoned one."""
    (tmp_path / "second.shortsdb").mkdir()
    folders = [str(tmp_path / "gone.shortsdb"), str(tmp_path / "second.shortsdb")]
    monkeypatch.setattr(scratch, "mkdtemp", lambda **_: folders.pop(0))
    with scratch_folder(tmp_path, "a-") as folder:
        assert folder.name == "second.shortsdb"
    assert names(tmp_path) == []


@pytest.mark.usefixtures("descriptors")
def test_folders_of_killed_processes_are_removed_by_the_next_one(tmp_path: Path) -> None:
    abandon(tmp_path, "a-")
    abandon(tmp_path, "b-")
    assert len(names(tmp_path)) == 2
    with scratch_folder(tmp_path, "a-") as folder:
        assert folder.name in names(tmp_path)
        assert len(names(tmp_path)) == 2
    (left,) = names(tmp_path)
    assert left.startswith("b-")


def test_folders_in_use_and_of_other_users_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a-mine").mkdir()
    (tmp_path / "a-file.shortsdb").touch()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "a-link.shortsdb").symlink_to(tmp_path / "precious")
    there = names(tmp_path)
    with scratch_folder(tmp_path, "a-") as first:
        with scratch_folder(tmp_path, "a-") as second:
            assert first.exists()
            assert second != first
        assert first.exists()
    assert names(tmp_path) == there
    assert (tmp_path / "precious" / "file").exists()
    if os.geteuid() == 0:
        other = tmp_path / "a-other.shortsdb"
        other.mkdir()
        os.chown(other, 65534, -1)
        with scratch_folder(tmp_path, "a-"):
            assert other.exists()


def test_a_folder_that_was_removed_before_it_was_locked_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = os.open
    opened: list[object] = []

    def open_and_lose(path: Path, flags: int, **options: Any) -> int:  # noqa: ANN401 - handed on
        descriptor = open_(path, flags, **options)
        opened.append(path)
        if len(opened) == 1:
            path.rmdir()  # as another process does that has found it without a lock
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    with scratch_folder(tmp_path, "a-") as folder:
        assert folder.is_dir()
        assert len(opened) == 2


@pytest.mark.usefixtures("descriptors")
def test_a_folder_that_another_process_is_about_to_remove_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first.shortsdb"
    (tmp_path / "second.shortsdb").mkdir()
    folders = [str(first), str(tmp_path / "second.shortsdb")]
    monkeypatch.setattr(scratch, "mkdtemp", lambda **_: folders.pop(0))
    first.mkdir()
    other = os.open(first, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with scratch_folder(tmp_path, "a-") as folder:
        assert folder.name == "second.shortsdb"
    os.close(other)


@pytest.mark.usefixtures("descriptors")
def test_without_locks_nothing_is_removed_as_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / "a-abandoned.shortsdb").mkdir()
    with scratch_folder(tmp_path, "a-") as folder:
        assert folder.is_dir()
    assert names(tmp_path) == ["a-abandoned.shortsdb"]


def test_only_a_folder_itself_is_opened(tmp_path: Path) -> None:
    """A FIFO would be waited for without end."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "file", "pipe"):
        with pytest.raises(NotADirectoryError):
            scratch._open(tmp_path / name)  # noqa: SLF001 - nothing else shows it


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_copy_ended_by_a_signal_removes_its_folder(
    full_file: Path, target: Database, tmp_path: Path, number: signal.Signals
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    left_out = tmp_path / "left-out.jsonl"
    arguments: list[StrPath] = [
        PROGRAMS / "shortsdb",
        "copy",
        full_file,
        target.url,
        "--skip-invalid",
        left_out,
    ]
    environment = {**os.environ, "TMPDIR": str(temporary), "SHORTSDB_LOCK_TIMEOUT": "60"}
    # The copy waits for the target with its temporary files made.
    lock = target.server.url(target.name)
    with psycopg.connect(lock) as other:
        other.execute("CREATE TABLE alembic_version (version_num varchar(32))")
        # Whoever runs the tests may ignore signals, and a program inherits that.
        heeding = ["env", "--default-signal=HUP,INT,TERM"]
        with subprocess.Popen(
            [*heeding, *arguments], env=environment, stderr=subprocess.PIPE
        ) as process:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while target.psql(f"{waiting} AND datname = current_database()") == "0\n":
                assert process.poll() is None, "it did not wait"
            assert len(names(temporary)) == 1
            assert len(names(tmp_path)) == 3
            process.send_signal(number)
            process.communicate(timeout=60)
        assert (
            process.returncode
            == {
                signal.SIGTERM: 143,
                signal.SIGHUP: 129,
                signal.SIGINT: 1,
                signal.SIGKILL: -9,
            }[number]
        )
        other.rollback()
    killed = number == signal.SIGKILL
    assert len(names(temporary)) == killed
    assert len(names(tmp_path)) == 2 + killed
    subprocess.run(arguments, env=environment, check=True, capture_output=True)
    assert names(temporary) == []
    assert names(tmp_path) == ["deployed.db", "temporary"]
