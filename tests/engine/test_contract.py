"""Sessions behave as their model, step by step and concurrently."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from contract_machine import ContractMachine, World
from contract_model import Refused
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from project import HELPERS
from sqlalchemy import select

from shortsdb.engine import create_engine, session_factory
from shortsdb.models import ConfigOverride

WORKER = HELPERS / "contract_worker.py"
COUNTERS = {"counter", "second counter"}

QUICK = settings(
    max_examples=80,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def check_steps(url: str, profile: settings) -> None:
    """Play sessions step by step, as many times as the profile says."""
    with World(url) as world:
        # Any factory will do, although its type says a class.
        factory: Any = partial(ContractMachine, world)
        run_state_machine_as_test(factory, settings=profile)
        # Otherwise the run was too short to be meaningful.
        assert world.refusals.keys() == set(Refused.__subclasses__())


# Two sessions may delete one row.
@pytest.mark.filterwarnings("ignore:DELETE statement on table")
def test_sessions_step_by_step(url: str) -> None:
    check_steps(url, QUICK)


def check_at_once(url: str, processes: int, threads: int, transactions: int) -> None:
    """Count in threads of several processes, and compare the result with the acknowledgements."""
    engine = create_engine(url)
    with session_factory(engine).begin() as session:
        session.add_all(ConfigOverride(key=key, value="0") for key in COUNTERS)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, WORKER, url, str(seed), str(threads), str(transactions)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for seed in range(processes)
        ]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        printed = [worker.communicate()[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * processes
    reports = [report for lines in printed for report in json.loads(lines)]
    committed = {key for report in reports for key in report["committed"]}
    refused = {key for report in reports for key in report["refused"]}
    assert len(committed | refused) == processes * threads * transactions
    assert any(report["conflicts"] for report in reports)
    with session_factory(engine, read_only=True)() as session:
        rows = {row.key: row.value for row in session.scalars(select(ConfigOverride))}
    engine.dispose()
    assert {rows.pop(key) for key in COUNTERS} == {str(len(committed))}
    assert rows.keys() == committed


def test_threads_and_processes_at_once(url: str) -> None:
    check_at_once(url, processes=2, threads=4, transactions=15)
