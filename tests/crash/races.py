"""Races: many processes upgrade one unversioned file at once, and one of them is killed."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from cases import DATABASE
from database_state import examine
from figures import RACE, SECOND_RUNS, TRACEBACKS
from traced_runs import KILLED

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Bench, Prepared

RACERS = 16


def race(bench: Bench, prepared: Prepared, seed: int) -> None:
    """Run one round: RACERS at a barrier, with stalls, and one that dies at a random statement."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    folder = bench.fresh(prepared.template)
    victim = rng.randrange(RACERS)
    pids: dict[int, Path] = {}
    outputs = bench.root / "racers"
    outputs.mkdir()
    for number in range(RACERS):
        output = outputs / str(number)
        job = replace(
            bench.job(prepared.case, folder),
            output=str(output),
            count_into=None,
            # The victim does not stall, so that it often is the one that holds the lock.
            stall=None if number == victim else rng.randrange(2**32),
            kill_before=rng.randrange(prepared.statements) + 1 if number == victim else 0,
            kill_at_end=number == victim,
        )
        pids[bench.fork_server.start(job)] = output
    for pid in rng.sample(list(pids), RACERS):
        bench.fork_server.release(pid)
    codes = {pid: bench.fork_server.wait(pid) for pid in pids}
    bench.figures.point(RACE)
    dead = [pid for pid, code in codes.items() if code == KILLED]
    if dead != [list(pids)[victim]]:
        bench.figures.find(RACE, SECOND_RUNS, f"seed {seed}: not one was killed but {len(dead)}")
    for pid, code in codes.items():
        said = pids[pid].read_text(encoding="utf-8")
        if "Traceback" in said:
            bench.figures.find(RACE, TRACEBACKS, f"seed {seed}: {said.splitlines()[-1]}")
        if code not in {0, KILLED}:
            bench.figures.find(RACE, SECOND_RUNS, f"seed {seed}: exit code {code}: {said[-300:]}")
    shutil.rmtree(outputs)
    # Fifteen came through, so there is but one right state, and not even a version row too many.
    _, wrong = examine(folder / DATABASE, [prepared.new])
    if wrong is not None:
        bench.figures.find(RACE, wrong[0], f"seed {seed}: {wrong[1]}")
