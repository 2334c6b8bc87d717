"""A copy of the checkout whose models and revisions a test may change."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from project import PROGRAMS, ROOT

if TYPE_CHECKING:
    from pathlib import Path


class Checkout:
    """A copy of the checkout whose models may be changed."""

    def __init__(self, folder: Path) -> None:
        """Copy the needed parts into `folder`."""
        self.folder = folder
        for part in ("alembic", "src"):
            shutil.copytree(ROOT / part, folder / part)
        for file in ("alembic.ini", "pyproject.toml"):
            shutil.copy(ROOT / file, folder / file)

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program on this copy."""
        return subprocess.run(
            [PROGRAMS / program, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder / "src")},
            capture_output=True,
            text=True,
            check=False,
        )

    def change(self, model: str, old: str, new: str) -> None:
        """Replace `old` in a model, which must contain it."""
        file = self.folder / "src" / "shortsdb" / "models" / f"{model}.py"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    def revisions(self) -> list[str]:
        """Return the names of the revision files."""
        return sorted(file.name for file in (self.folder / "alembic" / "versions").glob("*.py"))
