"""Run all crash tests: `make torture`, or `python tests/crash/run.py`.

This takes hours, and can be stopped and continued at any time: the figures of finished tasks are
kept in build/torture.json, and a task is repeated only if the code has changed. Progress is printed
to standard error, the figures of all finished tasks to standard output as Markdown. The exit code
is 1 if there are findings, or if a control has none.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from database_state import HALF
from figures import SECOND_RUNS, Figures
from harness import Harness
from tasks import CONTROL, all_tasks
from torture_state import STATE, TortureState, source_hash

if TYPE_CHECKING:
    from tasks import Task


def run_task(task: Task) -> Figures:
    """Run a task in a worker process, and return its figures."""
    logging.getLogger("shortsdb").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as root, Harness(Path(root), Figures()) as harness:
        task(harness)
    return harness.figures


def main() -> int:
    """Run the unfinished tasks, print the figures and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=int, help="points of a case and family (default: all)")
    parser.add_argument("--only", default="", help="tasks with this in their name")
    parser.add_argument("--fresh", action="store_true", help="forget what is done")
    arguments = parser.parse_args()
    limit = arguments.limit or 10**9
    # Figures of a limited run are kept in a separate file.
    path = STATE if arguments.limit is None else STATE.with_stem(f"torture-{limit}")
    state = TortureState(path, source_hash(), fresh=arguments.fresh)
    tasks = {name: task for name, task in all_tasks(limit).items() if arguments.only in name}
    do(
        {name: task for name, task in tasks.items() if name not in state.done},
        state,
        arguments.workers,
    )
    return show({name: state.done[name] for name in tasks if name in state.done}, len(tasks))


def do(tasks: dict[str, Task], state: TortureState, workers: int) -> None:
    """Run the tasks, and save the figures of each as soon as it has ended."""
    began = monotonic()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        doing = {pool.submit(run_task, task): name for name, task in tasks.items()}
        for number, done in enumerate(as_completed(doing), start=1):
            name = doing[done]
            if error := done.exception():
                # The task is not saved, so that the next run repeats it; the others continue.
                say(f"[{number}/{len(doing)}] {name} failed: {error!r}")
                continue
            figures = done.result()
            state.keep(name, figures)
            points = sum(figures.points.values())
            say(f"[{number}/{len(doing)}, {monotonic() - began:.0f} s] {name}: {points:,}")
            if not name.startswith(CONTROL) and figures.findings:
                say(figures.report())


def show(done: dict[str, Figures], wanted: int) -> int:
    """Print the figures of the finished tasks, and return the exit code."""
    figures, stock = Figures(), Figures()
    controls = {name: one for name, one in done.items() if name.startswith(CONTROL)}
    for name, one in done.items():
        if name not in controls:
            figures.add(one)
        elif "stock" in name:
            stock.add(one)
    of_stock = [
        f"{sum(stock.points.values()):,} kill points",
        f"{len(stock.of_kind(HALF)):,} half states",
        f"{len(stock.of_kind(SECOND_RUNS)):,} failed second runs",
    ]
    lines = [
        figures.table(),
        "",
        f"{len(done)} of {wanted} tasks.",
        f"Deployed code wrote {figures.rows:,} rows beside upgrades and downgrades.",
        f"Its longest stall: {figures.longest_stall:.2f} s.",
        "",
        f"Control, Alembic's stock env.py: {', '.join(of_stock)}.",
        *(
            f"{name[0].upper()}{name[1:]}: {len(one.findings)} findings."
            for name, one in controls.items()
            if "stock" not in name
        ),
    ]
    print("\n".join(lines))  # noqa: T201 - the output of this program
    harmless = [name for name, one in controls.items() if not one.findings]
    return 1 if figures.findings or harmless or len(done) < wanted else 0


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress


if __name__ == "__main__":
    sys.exit(main())
