"""The file of skipped rows: its place, its permissions, and its contents."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shortsdb.errors import OperationRefused
from shortsdb.target import Target
from shortsdb.transfer.invalid_rows import InvalidRow, collecting, plain

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = Target.parse("it")
ROW = InvalidRow("clips", 1, {"title": "has a NUL in it"}, {"id": 1, "title": "a"})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_of_skipped_rows_replaces_that_of_an_earlier_copy(tmp_path: Path) -> None:
    file = tmp_path / "left-out.jsonl"
    for count in (2, 1):
        with collecting(file) as findings:
            for _ in range(count):
                findings.add(ROW)
            findings.settle(SOURCE)
            # The file is complete before the copy continues.
            assert file.read_text() == f"{ROW.as_json()}\n" * count
        assert names(tmp_path) == [file.name]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_file_is_made_without_rows_or_after_an_error(tmp_path: Path) -> None:
    file = tmp_path / "left-out.jsonl"
    with collecting(file) as findings:
        findings.settle(SOURCE)
    assert names(tmp_path) == []

    def interrupted() -> None:
        with collecting(file) as findings:
            findings.add(ROW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_the_file_is_durable_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ("n" * 240)  # no longer than a file system takes
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def record_fsync(descriptor: int) -> None:
        there = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append(f"fsync {there.name} {there.stat().st_size if there.is_file() else ''}")
        fsync(descriptor)

    def record_rename(source: str, to: str, **options: int) -> None:
        (scratch,) = (path for path in tmp_path.iterdir() if path.name != to)
        assert scratch.name.startswith(f".{'n' * 40}.")
        calls.append(f"name {to[:1]}")
        rename(source, to, **options)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "rename", record_rename)
    with collecting(file) as findings:
        findings.add(ROW)
        findings.settle(SOURCE)
    size = len(ROW.as_json()) + 1
    assert calls == [f"fsync rows {size}", "name n", f"fsync {tmp_path.name} "]


def test_an_empty_file_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "left-out.jsonl"
    file.touch()
    with collecting(file) as findings:
        findings.add(ROW)
        findings.settle(SOURCE)
    assert file.read_text() == f"{ROW.as_json()}\n"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == f"{SOURCE}: 1 rows are left out, see {file}"


def make_link(path: Path) -> None:
    path.symlink_to("precious")
    path.with_name("precious").touch()


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.mkfifo, "a FIFO"),
        (os.mkdir, "a folder"),
        (make_link, "link"),
        (make_dangling_link, "link"),
        (make_device, "link"),
    ],
)
def test_only_regular_files_are_replaced(
    tmp_path: Path, make: Callable[[Path], object], what: str
) -> None:
    destination = tmp_path / "left-out.jsonl"
    make(destination)
    before = [(path.name, path.lstat().st_ino) for path in sorted(tmp_path.iterdir())]
    with (
        pytest.raises(OperationRefused, match=f"{what}.*, which is not replaced"),
        collecting(destination),
    ):
        pytest.fail("it was not refused")
    assert [(path.name, path.lstat().st_ino) for path in sorted(tmp_path.iterdir())] == before


def test_a_device_is_not_replaced() -> None:
    with (
        pytest.raises(OperationRefused, match="device, which is not replaced"),
        collecting(Path("/dev/null")),
    ):
        pytest.fail("it was not refused")


@pytest.mark.parametrize("content", ["precious", '{"tabl', "\n"])
def test_foreign_files_are_not_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / "left-out.jsonl"
    file.write_text(content)
    with pytest.raises(OperationRefused, match="holds something else already"), collecting(file):
        pytest.fail("it was not refused")
    assert (names(tmp_path), file.read_text()) == ([file.name], content)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "left-out.jsonl"
    with pytest.raises(OperationRefused, match="cannot be made"), collecting(file):
        pytest.fail("it was not refused")


def test_a_refusal_names_twenty_and_counts_all() -> None:
    with collecting(None) as findings:
        for number in range(25):
            findings.add(InvalidRow("clips", number, {"title": "x"}, {}))
        with pytest.raises(OperationRefused, match="it holds 25 rows that cannot") as refused:
            findings.settle(SOURCE)
    message = str(refused.value)
    assert message.count("title: x") == 20
    assert "and 5 more" in message


def test_json_keeps_every_value_of_a_row() -> None:
    row = {
        "blob": b"\x00\xff",
        "infinite": float("inf"),
        "nan": float("nan"),
        "number": 1.5,
        "broken": plain(bytearray(b"a\xffb")),
        "text": plain(bytearray("ö🎬".encode())),
        "null": None,
    }
    written = json.loads(InvalidRow("clips", b"k", {"blob": "why"}, row).as_json())
    assert written == {
        "table": "clips",
        "key": {"hex": "6b"},
        "faults": {"blob": "why"},
        "row": {
            "blob": {"hex": "00ff"},
            "infinite": {"float": "inf"},
            "nan": {"float": "nan"},
            "number": 1.5,
            "broken": "a\udcffb",
            "text": "ö🎬",
            "null": None,
        },
    }
    assert written["row"]["broken"].encode(errors="surrogateescape") == b"a\xffb"


def test_a_link_that_takes_the_place_of_the_file_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = tmp_path / "left-out.jsonl", tmp_path / "other"
    file.touch()
    other.touch()
    look = os.stat

    def replaced_after_the_look(path: str, **options: Any) -> os.stat_result:  # noqa: ANN401 - passed on
        found = look(path, **options)
        if path == file.name:
            file.unlink()
            file.symlink_to(other)
        return found

    monkeypatch.setattr(os, "stat", replaced_after_the_look)
    with pytest.raises(OperationRefused, match="levels of symbolic links"):
        collecting(file).__enter__()
