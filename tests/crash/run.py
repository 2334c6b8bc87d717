"""The whole torture: `make torture`, or `python tests/crash/run.py`.

Progress goes to standard error, the figures go to standard output as Markdown. The exit code is 1
if anything was found, or if the control came through.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from cases import JOURNALS, PROGRAMS, UPGRADE, Case, grouped
from database_state import HALF, ROWS
from fault_points import blows, sample
from figures import AT_CALL, AT_STATEMENT, BROKEN, FULL, GENERATED, SECOND_RUNS, Figures
from generated import PROPERTIES, check
from harness import Bench
from power_cuts import lose_power
from races import race
from starts import unversioned
from stock_baseline import strike_stock
from traffic import drive

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 50
# Of each kind, for each case: every one of them would take hours.
FAULTS = 80
EXAMPLES = 250


def strike_cases(number: int, limit: int, bench: Bench) -> None:
    """Kill, starve and unplug the cases of one start, command and journal."""
    cases = grouped()[number]
    for case in cases:
        prepared = bench.prepare(case)
        families = {AT_STATEMENT: limit, AT_CALL: limit}
        # What a caller prints of its own connection's errors is its own affair; the two others
        # take turns.
        if case == cases[number % len(cases[:2])]:
            families |= {FULL: min(limit, FAULTS), BROKEN: min(limit, FAULTS)}
            lose_power(bench, prepared, at_random=3, every=2)
        for family, size in families.items():
            for blow in sample(blows(family, prepared), size):
                bench.strike(family, prepared, blow)


def run_races(number: int, bench: Bench) -> None:
    """Run every sixth round, those of one journal and program."""
    journal, program = [(journal, program) for journal in JOURNALS for program in PROGRAMS][number]
    prepared = bench.prepare(Case(unversioned, *UPGRADE, journal, program))
    for seed in range(number, ROUNDS, len(JOURNALS) * len(PROGRAMS)):
        race(bench, prepared, seed)


def run_traffic(number: int, bench: Bench) -> None:
    """Upgrade and downgrade beside deployed code."""
    drive(bench, bench.prepare(Case(unversioned, *UPGRADE, JOURNALS[number], "shortsdb")), ROUNDS)


def run_generated(name: str, bench: Bench) -> None:
    """Try a property on generated databases."""
    try:
        check(name, EXAMPLES, derandomize=False)
    except Exception as failure:  # noqa: BLE001 - a refusal or error of any kind is a finding
        bench.figures.find(GENERATED, ROWS, f"{name}: {failure}")
    bench.figures.points[GENERATED] += EXAMPLES


def on_a_bench(task: Callable[[Bench], None]) -> Figures:
    """Do a task in a worker process, and return what it counted."""
    logging.getLogger("shortsdb").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as root, Bench(Path(root), Figures()) as bench:
        task(bench)
    return bench.figures


def main() -> int:
    """Do everything, print the figures and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=int, default=10**9, help="points of a case and family")
    parser.add_argument("--only", default="", help="tasks with this in their name")
    arguments = parser.parse_args()
    tasks: dict[str, Callable[[Bench], None]] = {
        **{
            f"{cases[0].start.__name__} {cases[0].command} {cases[0].journal}": partial(
                strike_cases, number, arguments.limit
            )
            for number, cases in enumerate(grouped())
        },
        **{f"races {number}": partial(run_races, number) for number in range(6)},
        **{f"traffic {journal}": partial(run_traffic, i) for i, journal in enumerate(JOURNALS)},
        **{f"generated {name}": partial(run_generated, name) for name in PROPERTIES},
        "control": partial(strike_stock, size=arguments.limit),
    }
    control, figures = Figures(), Figures()
    began = monotonic()
    with ProcessPoolExecutor(arguments.workers, multiprocessing.get_context("spawn")) as pool:
        doing = {
            pool.submit(on_a_bench, task): name
            for name, task in tasks.items()
            if arguments.only in name
        }
        for number, done in enumerate(as_completed(doing), start=1):
            of_task = done.result()
            (control if doing[done] == "control" else figures).add(of_task)
            points = sum(of_task.points.values())
            say(f"[{number}/{len(doing)}, {monotonic() - began:.0f} s] {doing[done]}: {points:,}")
            if doing[done] != "control" and of_task.findings:
                say(of_task.report())
    show(figures, control)
    harmless = "control" in doing.values() and not control.of_kind(HALF)
    return 1 if figures.findings or harmless else 0


def show(figures: Figures, control: Figures) -> None:
    """Print the figures."""
    print(figures.table())  # noqa: T201 - this is what it is run for
    print(  # noqa: T201 - as above
        f"\nLongest stall of deployed code: {figures.longest_stall:.2f} s.\n\n"
        f"Control, Alembic's stock env.py: {sum(control.points.values()):,} kill points, "
        f"{len(control.of_kind(HALF)):,} half states, "
        f"{len(control.of_kind(SECOND_RUNS)):,} failed second runs."
    )


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress


if __name__ == "__main__":
    sys.exit(main())
