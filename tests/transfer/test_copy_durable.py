"""A reported copy survives a power cut: contents are synced first, then the name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from inspect_sqlite import execute

from shortsdb.transfer import copy

if TYPE_CHECKING:
    from postgresql_server import Database


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return the calls that make something durable or give it a name, as they really happen."""
    made: list[tuple[str, str]] = []
    fsync, link, rename = os.fsync, os.link, os.rename

    def path_of(descriptor: int) -> Path:
        return Path(f"/proc/self/fd/{descriptor}").readlink()

    def record_fsync(descriptor: int) -> None:
        made.append(("fsync", str(path_of(descriptor))))
        fsync(descriptor)

    def record_link(source: Any, to: Any, **options: Any) -> None:  # noqa: ANN401 - handed on
        made.append(("name", str(to)))
        link(source, to, **options)

    def record_rename(
        source: str, to: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        made.append(("name", to if dst_dir_fd is None else str(path_of(dst_dir_fd) / to)))
        rename(source, to, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "link", record_link)
    monkeypatch.setattr(os, "rename", record_rename)
    return made


def around_the_name(calls: list[tuple[str, str]], file: Path) -> list[str]:
    """Return the calls from the last one before the rename on."""
    at = calls.index(("name", str(file)))
    what, before = calls[at - 1]
    assert what == "fsync"
    return [Path(before).name, *[f"{what} {path}" for what, path in calls[at:]]]


def test_a_new_file_and_the_rows_left_out(
    full_file: Path, target: Database, tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    execute(full_file, "UPDATE tts_audio SET duration_seconds = 'long' WHERE id = 1")
    left_out = tmp_path / "invalid.jsonl"
    copy(str(full_file), target.url, left_out)
    assert around_the_name(calls, left_out) == ["rows", f"name {left_out}", f"fsync {tmp_path}"]

    calls.clear()
    back = tmp_path / "back.db"
    copy(target.url, str(back))
    assert around_the_name(calls, back) == ["back.db", f"name {back}", f"fsync {tmp_path}"]
