"""Every benchmark runs at a tiny size, and shortsdb loses and refuses nothing in it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from project import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PARTS = (
    "deploy",
    "growth",
    "backups",
    "rebuild",
    "sessions",
    "writers",
    "postgresql_writers",
    "think",
    "many_rows",
    "console_pages",
    "startup",
    "transfer",
)


def test_all_benchmarks_run(tmp_path: Path) -> None:
    results = tmp_path / "results.md"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "run_all.py", "--smoke", "--output", results],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.stem for path in tmp_path.glob("results/*.md")) == sorted(PARTS)
    page = results.read_text(encoding="utf-8")
    sections = page.split("\n## ")[1:]
    assert len(sections) == len(PARTS)
    assert all("\n| shortsdb" in section for section in sections)
    (writers,) = (section for section in sections if section.startswith("Concurrent writers"))
    counted = [
        line.split(" | ") for line in writers.splitlines() if line.startswith("| shortsdb |")
    ]
    assert len(counted) == len(("processes", "tasks"))
    for _, _, _, errors, refused, lost in counted:
        assert [cell.split()[0] for cell in (errors, refused, lost)] == ["0"] * 3
