"""Traffic: deployed code reads and writes while the database is upgraded and downgraded."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases import DATABASE, DOWNGRADE, UPGRADE
from database_state import HALF, ROWS, damage
from deployed_code import ROWS_OF
from figures import SECOND_RUNS, TRACEBACKS, TRAFFIC, UNTRUE

if TYPE_CHECKING:
    from harness import Harness, Prepared

WORKERS = ("raw", "orm", "reader")
# Queries for the numbers of each writer's complete transactions.
WRITTEN = {
    "raw": "SELECT retry_count FROM pipeline_runs WHERE niche = ?"
    f" GROUP BY retry_count HAVING count(*) = {ROWS_OF['raw']}",
    "orm": "SELECT retry_count FROM clips"
    " JOIN pipeline_runs ON pipeline_runs.id = pipeline_run_id"
    " JOIN discovered_videos ON discovered_videos.id = discovered_video_id"
    " WHERE pipeline_runs.niche = ? AND status = 'approved'"
    " AND video_id = pipeline_runs.niche || '-' || retry_count",
}


def drive(harness: Harness, prepared: Prepared, rounds: int, *, rows: int = 0) -> None:
    """Upgrade and downgrade under traffic.

    Args:
        harness: Runs the commands.
        prepared: The case.
        rounds: The minimum number of rounds.
        rows: The minimum number of runs that deployed code has written at the end.
    """
    folder = harness.fresh(prepared.template)
    path = folder / DATABASE
    with ExitStack() as stack:
        workers = {
            kind: stack.enter_context(
                subprocess.Popen(
                    [
                        sys.executable,
                        Path(__file__).with_name("deployed_code.py"),
                        *(kind, path, f"name-{kind}"),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for kind in WORKERS
        }
        for worker in workers.values():
            assert worker.stdout is not None
            assert worker.stdout.readline() == "begun\n"
        for number in count():
            if number >= rounds and _runs_written(path) >= rows:
                break
            for command, arguments in (UPGRADE, DOWNGRADE):
                case = replace(prepared.case, command=command, arguments=arguments)
                outcome = harness.fork_server.run(harness.job(case, folder))
                harness.figures.point(TRAFFIC)
                what = f"{case}: round {number}"
                if outcome.code != 0:
                    harness.figures.find(TRAFFIC, SECOND_RUNS, f"{what}: {outcome.output[-300:]}")
                if "Traceback" in outcome.output:
                    harness.figures.find(TRAFFIC, TRACEBACKS, f"{what}: {outcome.output[-300:]}")
        reports = {kind: json.loads(worker.communicate()[0]) for kind, worker in workers.items()}
    harness.figures.rows += sum(
        len(reports[kind]["acknowledged"]) * ROWS_OF[kind] for kind in WRITTEN
    )
    _check(harness, prepared, path, reports)
    longest = max(float(report["longest"]) for report in reports.values())
    harness.figures.longest_stall = max(harness.figures.longest_stall, longest)


def _runs_written(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        number: int = connection.execute("SELECT max(id) FROM pipeline_runs").fetchone()[0]
        return number


def _check(
    harness: Harness, prepared: Prepared, path: Path, reports: dict[str, dict[str, Any]]
) -> None:
    if damaged := damage(path):
        harness.figures.find(TRAFFIC, HALF, f"{prepared.case}: {damaged}")
        return
    for kind, report in reports.items():
        for error in report["errors"]:
            harness.figures.find(TRAFFIC, UNTRUE, f"{prepared.case}: {kind} saw {error}")
    with closing(sqlite3.connect(path)) as connection:
        for kind, query in WRITTEN.items():
            there = {row[0] for row in connection.execute(query, (f"name-{kind}",))}
            acknowledged = set(reports[kind]["acknowledged"])
            if not acknowledged or acknowledged - there:
                lost = sorted(acknowledged - there)
                harness.figures.find(TRAFFIC, ROWS, f"{prepared.case}: {kind} lost {lost}")
