"""Stores finished results of the crash tests in a file, so that they can be run in parts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from figures import Figures
from project import ROOT

if TYPE_CHECKING:
    from pathlib import Path

STATE = ROOT / "build" / "torture.json"
# A change in these folders invalidates the saved figures.
_SOURCES = ("src", "alembic", "tests/crash", "tests/helpers")


def source_hash() -> str:
    """Return a hash of the code under test and of the crash tests."""
    content = hashlib.sha256()
    for folder in _SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".sql"}:
                content.update(str(path.relative_to(ROOT)).encode() + b"\0")
                content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()[:16]


class TortureState:
    """The figures of all finished tasks."""

    def __init__(self, path: Path, source: str, *, fresh: bool) -> None:
        """Read the file, if it exists and belongs to the same code.

        Args:
            path: The file of the figures.
            source: The hash of the code, see `source_hash`.
            fresh: Whether to ignore the existing file.
        """
        self.path = path
        self.source = source
        self.done: dict[str, Figures] = {}
        if fresh or not path.exists():
            return
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["source"] == source:
            self.done = {name: _figures(values) for name, values in kept["tasks"].items()}

    def keep(self, task: str, figures: Figures) -> None:
        """Add the figures of a task that has ended."""
        self.done[task] = figures
        kept = {
            "source": self.source,
            "tasks": {name: vars(figures) for name, figures in self.done.items()},
        }
        self.path.parent.mkdir(exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        new.replace(self.path)


def _figures(values: dict[str, Any]) -> Figures:
    figures = Figures(**values)
    figures.points = Counter(figures.points)
    figures.findings = [(family, kind, detail) for family, kind, detail in figures.findings]
    return figures
