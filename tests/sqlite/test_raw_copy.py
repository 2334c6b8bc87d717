"""The program that copies a file: it writes only what differs, and says what it has done."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import pytest

from shortsdb.sqlite import _raw_copy
from shortsdb.sqlite.files import identity

if TYPE_CHECKING:
    from pathlib import Path


class Copy(io.BytesIO):
    """A copy in memory that records where it is written."""

    def __init__(self, content: bytes) -> None:
        """Begin with a content."""
        super().__init__(content)
        self.written: list[int] = []

    def write(self, data: object, /) -> int:
        """Record the position."""
        self.written.append(self.tell())
        assert isinstance(data, bytes)
        return super().write(data)


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy blocks of four bytes, and print a share after each second one."""
    monkeypatch.setattr(_raw_copy, "_BLOCK", 4)
    monkeypatch.setattr(_raw_copy, "_BLOCKS_A_LINE", 2)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(
    ("content", "before", "written"),
    [
        (b"", b"old", []),
        (b"abcd", b"", [0]),
        (b"abcdefgh", b"abcd", [4]),
        (b"abcdefghij", b"abcdefghijklmn", []),
        (b"abcdefghij", b"abcd....ij", [4]),
        (b"abcdefghij", b"abc.efghi", [0, 8]),
    ],
)
def test_only_the_blocks_that_differ_are_written(
    tmp_path: Path, content: bytes, before: bytes, written: list[int]
) -> None:
    (tmp_path / "file").write_bytes(content)
    copy = Copy(before)
    with (tmp_path / "file").open("rb", buffering=0) as file:
        file.read()
        _raw_copy.sync_file(copy, file, talk=False)
    assert copy.getvalue() == content
    assert copy.written == written


@pytest.mark.usefixtures("blocks")
def test_shares_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"x" * 20)
    with (tmp_path / "file").open("rb", buffering=0) as file:
        _raw_copy.sync_file(Copy(b""), file, talk=False)
        assert capsys.readouterr().out == ""
        _raw_copy.sync_file(Copy(b""), file, talk=True)
        assert capsys.readouterr().out == "0.4\n0.8\n"
    # A file that grows meanwhile: this one says that it is empty.
    with open("/proc/self/environ", "rb", buffering=0) as file:  # noqa: PTH123 - has no size
        _raw_copy.sync_file(Copy(b""), file, talk=True)
        assert set(capsys.readouterr().out.splitlines()) == {"1.0"}


def test_a_large_file_is_read_in_large_blocks(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(2_500_000))
    copy = Copy(b"")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        _raw_copy.sync_file(copy, file, talk=False)
    assert copy.written == [0, 2**20, 2**21]


def _run(
    monkeypatch: pytest.MonkeyPatch, file: Path, wanted: object, copy: Path, said: str = "\n"
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(said))
    descriptor = os.open(copy, os.O_RDWR | os.O_CREAT)
    _raw_copy.main(str(file), str(wanted), str(descriptor))


def test_the_copy_is_on_disk_before_it_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, copy = tmp_path / "file", tmp_path / "copy"
    file.write_bytes(b"first")
    synced = []

    def fsync(_: int) -> None:
        synced.append((capsys.readouterr().out, copy.read_bytes()))
        file.write_bytes(b"changed")

    monkeypatch.setattr(os, "fsync", fsync)
    _run(monkeypatch, file, identity(file.stat()), copy)
    assert synced == [("0.0\n", b"first")]
    assert capsys.readouterr().out == _raw_copy.COPIED + _raw_copy.EQUAL
    assert copy.read_bytes() == b"changed"


def test_nothing_is_reported_after_the_parent_has_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    _run(monkeypatch, file, identity(file.stat()), tmp_path / "copy", said="")
    assert capsys.readouterr().out == "0.0\n" + _raw_copy.COPIED


def test_another_file_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, copy = tmp_path / "file", tmp_path / "copy"
    file.write_bytes(b"secret")
    os.mkfifo(tmp_path / "pipe")
    for path in (file, tmp_path / "pipe"):
        with pytest.raises(SystemExit) as ended:
            _run(monkeypatch, path, identity(tmp_path.stat()), copy)
        assert ended.value.code == 1
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="link"):
        _run(monkeypatch, tmp_path / "link", identity(file.stat()), copy)
    assert copy.read_bytes() == b""
