"""Traffic: deployed code goes on writing and reading while the database goes up and down."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torture_cases import DATABASE, DOWNGRADE, UPGRADE
from torture_figures import SECOND_RUNS, TRACEBACKS, TRAFFIC, UNTRUE
from torture_state import HALF, ROWS, damage

if TYPE_CHECKING:
    from torture_bench import Bench, Prepared

WORKERS = ("raw", "orm", "reader")


def drive(bench: Bench, prepared: Prepared, rounds: int) -> None:
    """Upgrade and downgrade `rounds` times under traffic."""
    folder = bench.fresh(prepared.template)
    path = folder / DATABASE
    with ExitStack() as stack:
        workers = {
            kind: stack.enter_context(
                subprocess.Popen(
                    [
                        sys.executable,
                        Path(__file__).with_name("torture_deployed_code.py"),
                        *(kind, path, f"name-{kind}"),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for kind in WORKERS
        }
        facts = {kind: _until_ready(worker) for kind, worker in workers.items()}
        for number in range(rounds):
            for command, arguments in (UPGRADE, DOWNGRADE):
                case = replace(prepared.case, command=command, arguments=arguments)
                outcome = bench.zygote.run(bench.job(case, folder))
                bench.figures.point(TRAFFIC)
                what = f"{case}: round {number}"
                if outcome.code != 0:
                    bench.figures.find(TRAFFIC, SECOND_RUNS, f"{what}: {outcome.output[-300:]}")
                if "Traceback" in outcome.output:
                    bench.figures.find(TRAFFIC, TRACEBACKS, f"{what}: {outcome.output[-300:]}")
        for kind, worker in workers.items():
            said, _ = worker.communicate()
            facts[kind] += [json.loads(line) for line in said.splitlines()]
    _judge(bench, prepared, path, facts)
    longest = max(float(fact.get("longest", 0)) for said in facts.values() for fact in said)
    bench.figures.longest_stall = max(bench.figures.longest_stall, longest)


def _until_ready(worker: subprocess.Popen[str]) -> list[dict[str, Any]]:
    assert worker.stdout is not None
    facts: list[dict[str, Any]] = []
    while not facts or "ready" not in facts[-1]:
        facts.append(json.loads(worker.stdout.readline()))
    return facts


def _judge(
    bench: Bench, prepared: Prepared, path: Path, facts: dict[str, list[dict[str, Any]]]
) -> None:
    if damaged := damage(path):
        bench.figures.find(TRAFFIC, HALF, f"{prepared.case}: {damaged}")
        return
    with closing(sqlite3.connect(path)) as connection:
        for kind, said in facts.items():
            for fact in said:
                if "error" in fact:
                    bench.figures.find(
                        TRAFFIC, UNTRUE, f"{prepared.case}: {kind} saw {fact['error']}"
                    )
            acknowledged = {fact["acknowledged"] for fact in said if "acknowledged" in fact}
            there = {
                row[0]
                for row in connection.execute(
                    "SELECT retry_count FROM pipeline_runs WHERE niche = ?"
                    if kind == "raw"
                    else "SELECT retry_count FROM clips"
                    " JOIN pipeline_runs ON pipeline_runs.id = pipeline_run_id"
                    " JOIN discovered_videos ON discovered_videos.id = discovered_video_id"
                    " WHERE pipeline_runs.niche = ? AND status = 'approved'"
                    " AND video_id = pipeline_runs.niche || '-' || retry_count",
                    (f"name-{kind}",),
                )
            }
            if lost := acknowledged - there:
                bench.figures.find(TRAFFIC, ROWS, f"{prepared.case}: {kind} lost {sorted(lost)}")
