"""What deployed code, which goes on writing, sees of another program that works on its file."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import migrators
from measure import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_WRITER = ROOT / "tests" / "crash" / "deployed_code.py"
_NAME = "deployed code"


@dataclass(frozen=True)
class Stall:
    """What it saw."""

    longest: float
    """Seconds of its longest transaction."""
    errors: int


def beside_writer(work: Callable[[], object] | None, place: Path) -> Stall:
    """Run some work, or rest for two seconds, while deployed code writes to the file there."""
    with subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, _WRITER, "raw", place / migrators.DATABASE, _NAME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None  # noqa: S101 - it is a pipe
        writer.stdout.readline()  # it has begun
        if work is None:
            time.sleep(2)
        else:
            work()
        report = json.loads(writer.communicate()[0])
    migrators.forget_rows_of(_NAME, place)
    return Stall(report["longest"], len(report["errors"]))
