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

    from harness import Harness, Prepared

RACERS = 16


def race(harness: Harness, prepared: Prepared, seed: int) -> None:
    """Run one round: RACERS start together with random delays; one dies at a random statement."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    folder = harness.fresh(prepared.template)
    victim = rng.randrange(RACERS)
    pids: dict[int, Path] = {}
    outputs = harness.root / "racers"
    outputs.mkdir()
    for number in range(RACERS):
        output = outputs / str(number)
        job = replace(
            harness.job(prepared.case, folder),
            output=str(output),
            count_into=None,
            # The victim is not delayed, so that it often holds the lock when it dies.
            stall=None if number == victim else rng.randrange(2**32),
            kill_before=rng.randrange(prepared.statements) + 1 if number == victim else 0,
            kill_at_end=number == victim,
        )
        pids[harness.fork_server.start(job)] = output
    for pid in rng.sample(list(pids), RACERS):
        harness.fork_server.release(pid)
    codes = {pid: harness.fork_server.wait(pid) for pid in pids}
    harness.figures.point(RACE)
    dead = [pid for pid, code in codes.items() if code == KILLED]
    if dead != [list(pids)[victim]]:
        harness.figures.find(RACE, SECOND_RUNS, f"seed {seed}: {len(dead)} were killed, not one")
    for pid, code in codes.items():
        said = pids[pid].read_text(encoding="utf-8")
        if "Traceback" in said:
            harness.figures.find(RACE, TRACEBACKS, f"seed {seed}: {said.splitlines()[-1]}")
        if code not in {0, KILLED}:
            harness.figures.find(RACE, SECOND_RUNS, f"seed {seed}: exit code {code}: {said[-300:]}")
    shutil.rmtree(outputs)
    # Fifteen upgrades succeeded, so only the new state is right, with exactly one version row.
    _, wrong = examine(folder / DATABASE, [prepared.new])
    if wrong is not None:
        harness.figures.find(RACE, wrong[0], f"seed {seed}: {wrong[1]}")
