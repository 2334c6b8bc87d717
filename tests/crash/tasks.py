"""The tasks of the crash tests, each of some minutes at most, including the controls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch
from xml.etree import ElementTree as ET

import fork_traffic
from alembic import command
from cases import JOURNALS, PROGRAMS, UPGRADE, Case, grouped
from database_state import HALF, ROWS
from fault_points import faults, sample
from figures import (
    AT_CALL,
    AT_STATEMENT,
    BROKEN,
    FAILED,
    FAITHFUL,
    FORKS,
    FULL,
    GENERATED,
    MUTANTS,
    POWER,
)
from generated import PROPERTIES, check
from power_cuts import lose_power
from project import ROOT
from races import race
from rebuilds import try_mutants
from starts import unversioned
from stock_baseline import CASES, run_stock_with_faults
from traffic import drive
from without import MECHANISMS

from shortsdb.migration import rebuild_checks
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Harness

    Task = Callable[[Harness], None]

CONTROL = "control: "
_ROUNDS = 48
# The limit on faults of each kind for each case, because trying all of them would take hours.
_FAULTS = 80
# The examples per task and the numbers of tasks, for properties and rebuilds, and for forks.
_EXAMPLES, _OF_PROPERTY, _OF_REBUILDS = 125, 2, 12
_FORK_ROUNDS, _OF_FORKS = 200, 5
# The rows that deployed code writes in a task, a million in total.
_ROWS, _OF_TRAFFIC = 50_000, 10
# Families that are pytest tests. Each has a control among its tests, or a mechanism in `without`
# whose removal must make tests fail.
_BY_PYTEST = {
    "readers across the COMMIT": ["tests/crash/test_long_readers.py"],
    "revisions that commit": ["tests/migration/test_one_transaction.py"],
    "revisions that lose rows": ["tests/migration/test_lost_rows.py"],
    "hostile owners": ["tests/crash/test_hostile_owner.py"],
    "hostile names": ["tests/output/test_printable.py", "tests/cli/test_secret_positions.py"],
    "closed descriptors": ["tests/cli/test_output.py"],
    "file modes": ["tests/sqlite/test_backup_permissions.py"],
}
_OWNER_ROUNDS = "300"


def all_tasks(limit: int) -> dict[str, Task]:
    """Return every task by its name; the names of controls begin with CONTROL.

    Args:
        limit: The highest number of points of a case and family, spread evenly.
    """
    return {
        **{f"rebuilds {number}": _rebuilds for number in range(_OF_REBUILDS)},
        **{f"forks {number}": partial(_forks, number) for number in range(_OF_FORKS)},
        **{
            f"tests of {family}": partial(_pytest, family, paths)
            for family, paths in _BY_PYTEST.items()
        },
        **{
            f"{CONTROL}stock env.py {number}": partial(run_stock_with_faults, number, size=limit)
            for number in range(len(CASES))
        },
        **{
            f"{CONTROL}tests of {family} without it": partial(
                _pytest, family, _BY_PYTEST[family], without=True
            )
            for family in MECHANISMS
        },
        f"{CONTROL}forks of a plain engine": _forks_of_plain_engine,
        f"{CONTROL}rebuilds that are not compared": _unchecked_rebuilds,
        **{f"races {number}": partial(_race, number) for number in range(_ROUNDS // 4)},
        **{
            f"traffic {journal} {number}": partial(_traffic, journal)
            for journal in JOURNALS
            for number in range(_OF_TRAFFIC)
        },
        **{
            f"generated {name} {number}": partial(_generated, name)
            for name in PROPERTIES
            for number in range(_OF_PROPERTY)
        },
        **_of_cases(limit),
    }


def _of_cases(limit: int) -> dict[str, Task]:
    tasks: dict[str, Task] = {}
    for number, cases in enumerate(grouped()):
        for case in cases:
            families = {AT_STATEMENT: limit, AT_CALL: limit}
            # The async caller handles its own errors, so only the two programs take turns here.
            if case == cases[number % len(cases[:2])]:
                families |= {FULL: min(limit, _FAULTS), BROKEN: min(limit, _FAULTS)}
                tasks[f"{case}: {POWER}"] = partial(_power, case)
            for family, size in families.items():
                tasks[f"{case}: {family}"] = partial(_run_with_faults, case, family, size)
    return tasks


def _run_with_faults(case: Case, family: str, size: int, harness: Harness) -> None:
    prepared = harness.prepare(case)
    for fault in sample(faults(family, prepared), size):
        harness.run_with_fault(family, prepared, fault)


def _power(case: Case, harness: Harness) -> None:
    lose_power(harness, harness.prepare(case), at_random=3, every=2)


def _race(number: int, harness: Harness) -> None:
    kinds = [(journal, program) for journal in JOURNALS for program in PROGRAMS]
    journal, program = kinds[number % len(kinds)]
    prepared = harness.prepare(Case(unversioned, *UPGRADE, journal, program))
    for seed in range(number, _ROUNDS, _ROUNDS // 4):
        race(harness, prepared, seed)


def _traffic(journal: str, harness: Harness) -> None:
    (kind,) = (one for one in JOURNALS if one == journal)
    drive(harness, harness.prepare(Case(unversioned, *UPGRADE, kind, "shortsdb")), 5, rows=_ROWS)


def _generated(name: str, harness: Harness) -> None:
    try:
        check(name, _EXAMPLES, derandomize=False)
    except Exception as failure:  # noqa: BLE001 - a refusal or error of any kind is a finding
        harness.figures.find(GENERATED, ROWS, f"{name}: {failure}")
    harness.figures.point(GENERATED, _EXAMPLES)


def _rebuilds(harness: Harness) -> None:
    try:
        counts = try_mutants(_EXAMPLES, derandomize=False)
    except AssertionError as failure:
        harness.figures.find(MUTANTS, ROWS, str(failure))
        return
    harness.figures.point(MUTANTS, counts["mutants"])
    harness.figures.point(FAITHFUL, counts["faithful"])


def _unchecked_rebuilds(harness: Harness) -> None:
    with patch.object(rebuild_checks, "same_rows", lambda *_: True):
        _rebuilds(harness)


def _forks(number: int, harness: Harness) -> None:
    ended_by = [signal.SIGTERM, signal.SIGINT, signal.SIGKILL][number % 3]
    _fork_trial("shortsdb", _FORK_ROUNDS, ended_by, harness)


def _forks_of_plain_engine(harness: Harness) -> None:
    for kind in ("sqlalchemy", "new_pool"):
        _fork_trial(kind, 6, signal.SIGKILL, harness)


def _fork_trial(kind: str, rounds: int, ended_by: signal.Signals, harness: Harness) -> None:
    path = harness.empty() / "daemon.db"
    command.upgrade(alembic_config(str(path)), "head")
    result = fork_traffic.daemon_trial(path, kind, rounds=rounds, ended_by=ended_by)
    harness.figures.point(FORKS, len(result.acknowledged))
    if result.missing:
        harness.figures.find(FORKS, ROWS, f"{kind}: {len(result.missing)} commits are missing")
    if result.damage:
        harness.figures.find(FORKS, HALF, f"{kind}: {result.damage}")


def _pytest(family: str, paths: list[str], harness: Harness, *, without: bool = False) -> None:
    report = harness.empty() / "report.xml"
    environment = {**os.environ, "SHORTSDB_TEST_ROUNDS": _OWNER_ROUNDS}
    if without:
        environment = {**os.environ, "SHORTSDB_WITHOUT": family}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *(["-p", "without"] if without else []),
            f"--junitxml={report}",
            *paths,
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        harness.figures.find(family, FAILED, done.stdout[-300:] + done.stderr[-300:])
        return
    for test in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest's own
        harness.figures.point(family)
        if any(test.find(what) is not None for what in ("failure", "error", "skipped")):
            harness.figures.find(family, FAILED, f"{test.get('classname')}.{test.get('name')}")
