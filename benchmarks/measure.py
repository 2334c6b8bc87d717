"""What all benchmarks measure with: work in turn, programs as wholes, medians, and tables."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).parent
ROOT = HERE.parent
PROGRAMS = Path(sys.executable).parent

# tools/legacy_database.py makes the deployed files, and tests/crash/deployed_code.py is the
# deployed code that writes meanwhile.
sys.path += [str(ROOT / folder) for folder in ("tools", "tests/helpers")]

PATIENCE = 45.0  # seconds

T = TypeVar("T")
Key = TypeVar("Key")


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int
    """How often a short figure is taken."""
    long_rounds: int
    """How often a longer one."""
    file_rounds: int
    """How often one of large files."""
    deployed_rows: tuple[int, ...]
    """Rows in the deployed tables, for what grows with them."""
    snapshots: tuple[int, ...]
    """Rows of analytics."""
    bulk: int
    """Snapshots that are written, or read, at once."""
    videos: int
    """Videos whose latest snapshot is asked for at once."""
    processes: int
    """Processes that write at once."""
    tasks: int
    """Tasks of asyncio that do."""
    increments: int
    """Increments of each of the processes."""
    thinks: tuple[float, ...]
    """Seconds between a read and the write."""
    think_seconds: float
    """How long each of these is measured, beside twice the time of thinking."""


FULL = Scale(
    rounds=9,
    long_rounds=5,
    file_rounds=3,
    deployed_rows=(0, 10_000, 1_000_000, 10_000_000),
    snapshots=(100_000, 1_000_000, 10_000_000),
    bulk=100_000,
    videos=1_000,
    processes=8,
    tasks=50,
    increments=100,
    thinks=(0, 0.01, 0.1, 1),
    think_seconds=0.5,
)
# Nothing that it prints means anything; it shows that everything still runs.
SMOKE = Scale(
    rounds=1,
    long_rounds=1,
    file_rounds=1,
    deployed_rows=(100,),
    snapshots=(1_000,),
    bulk=500,
    videos=10,
    processes=2,
    tasks=5,
    increments=5,
    thinks=(0, 0.01),
    think_seconds=0.02,
)


@dataclass(frozen=True)
class Run:
    """What one run of a program took."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    written_mib: float


@dataclass
class Table:
    """A table of results, with what has to be said of them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [
            f"### {self.title}\n",
            _line(self.columns),
            _line(["---", *["---:"] * (len(self.columns) - 1)]),
            *map(_line, self.rows),
            *("\n" + note for note in self.notes),
        ]
        return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def progress(text: str) -> None:
    """Say on standard error what is being done."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201 - progress


def in_turn(rounds: int, works: Mapping[Key, Callable[[], T]]) -> dict[Key, list[T]]:
    """Return what each work gave, once per round; what takes longer than PATIENCE only once.

    They take turns, so that what else the machine does hits them alike, and each round begins with
    another one, so that none always comes after the same one.
    """
    results: dict[Key, list[T]] = {key: [] for key in works}
    keys = list(works)
    for number in range(rounds):
        first = number % max(len(keys), 1)
        for key in keys[first:] + keys[:first]:
            begun = time.monotonic()
            results[key].append(works[key]())
            if time.monotonic() - begun > PATIENCE:
                keys = [other for other in keys if other != key]
    return results


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Return how long one call takes, on average over so many."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


def run_program(*command: str | Path, cwd: Path | None = None, **environment: str) -> Run:
    """Run a program to its end and return what it took.

    Raises:
        RuntimeError: It failed; the message is what it printed.
    """
    launch = [sys.executable, "-I", "-S", str(HERE / "launch.py"), *map(str, command)]
    done = subprocess.run(  # noqa: S603 - programs that are named in this folder
        launch,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    wall, cpu, kib, written = json.loads(done.stdout)
    return Run(wall, cpu, kib / 1024, written / 2**20)


def milliseconds(figures: Sequence[float], digits: int = 0) -> str:
    """Return median and range of seconds, as a cell in milliseconds."""
    return spread([figure * 1e3 for figure in figures], digits)


def spread(figures: Sequence[float], digits: int = 0) -> str:
    """Return median and range, as a cell."""
    median, low, high = statistics.median(figures), min(figures), max(figures)
    return f"{median:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def ratio(figures: Sequence[float], to: Sequence[float]) -> str:
    """Return how many times the median of `to` the median of `figures` is, as a cell."""
    base = statistics.median(to)
    return f"{statistics.median(figures) / base:.2f}" if base else "none to 0"


def with_ratio(figures: Sequence[float], to: Sequence[float], digits: int = 0) -> str:
    """Return both in one cell, of seconds in milliseconds."""
    return f"{milliseconds(figures, digits)}, {ratio(figures, to)}x"


def median_of(runs: Sequence[Any], name: str) -> float:
    """Return the median of one attribute of runs."""
    return float(statistics.median(getattr(run, name) for run in runs))
