"""The checkout under test: its folder, revisions and programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from shortsdb.migration.revisions import revision_ids

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
HEAD = revision_ids()[-1]
NEXT = f"{int(HEAD) + 1:04}"
"""The revision that a test adds."""
PROGRAMS = Path(sys.executable).parent
HELPERS = ROOT / "tests" / "helpers"

NewUrl: TypeAlias = "Callable[[], str]"
Program: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
