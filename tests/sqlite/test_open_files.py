"""The programs that have a file open are named, as far as the system shows them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from shortsdb.sqlite import open_files
from shortsdb.sqlite.open_files import open_by

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file."""
    file = tmp_path / "x.db"
    file.touch()
    return file


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in place of /proc."""
    folder = tmp_path / "proc"
    (folder / "self" / "fd").mkdir(parents=True)
    monkeypatch.setattr(open_files, "_PROCESSES", folder)
    return folder


def _process(folder: Path, pid: int, name: bytes, *opened: Path) -> None:
    (folder / str(pid) / "fd").mkdir(parents=True)
    (folder / str(pid) / "comm").write_bytes(name + b"\n")
    for number, path in enumerate(opened):
        (folder / str(pid) / "fd" / str(number)).symlink_to(path)


def test_each_process_is_named_once(file: Path, processes: Path) -> None:
    _process(processes, 20, b"writer", processes, file, file)
    _process(processes, 3, b"\xff\x1b", file)
    _process(processes, 4, b"other", processes)
    _process(processes, os.getpid(), b"itself", file)
    assert open_by(file) == ["writer (20)", "\ufffd\\x1b (3)"]


def test_what_is_gone_or_hidden_hides_nothing_else(file: Path, processes: Path) -> None:
    (processes / "1").mkdir()
    _process(processes, 2, b"reader", processes / "gone", file)
    _process(processes, 3, b"ended", file)
    (processes / "3" / "comm").unlink()
    _process(processes, 4, b"last", file)
    assert open_by(file) == ["last (4)", "reader (2)"]


def test_none_means_unknown(file: Path, processes: Path) -> None:
    assert open_by(file) == []
    assert open_by(file.with_name("gone.db")) is None
    (processes / "self" / "fd").rmdir()
    assert open_by(file) is None


def test_a_program_that_has_it_open_is_seen(file: Path) -> None:
    with (
        file.open() as opened,
        subprocess.Popen(
            ["cat"],  # noqa: S607 - where the system has it
            stdin=subprocess.PIPE,
            pass_fds=[opened.fileno()],
        ) as program,
    ):
        assert open_by(file) == [f"cat ({program.pid})"]
        program.communicate()
