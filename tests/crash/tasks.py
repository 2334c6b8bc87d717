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
from fault_points import blows, sample
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
from stock_baseline import CASES, strike_stock
from traffic import drive
from without import MECHANISMS

from shortsdb.migration import rebuild_checks
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Bench

    Task = Callable[[Bench], None]

CONTROL = "control: "
_ROUNDS = 48
# Faults of each kind for each case: every one of them would take hours.
_FAULTS = 80
# What one task tries of a property, of rebuilds and of forks, and how many tasks there are of each.
_EXAMPLES, _OF_PROPERTY, _OF_REBUILDS = 125, 2, 12
_FORK_ROUNDS, _OF_FORKS = 200, 5
# Rows that deployed code writes in a task: a million in all.
_ROWS, _OF_TRAFFIC = 50_000, 10
# Families that pytest runs, often in the case of races; each has its control among its tests, or a
# mechanism of `without` that the tests must miss.
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
        limit: How many points to take of a case and family, spread evenly over all there are.
    """
    return {
        **{f"rebuilds {number}": _rebuilds for number in range(_OF_REBUILDS)},
        **{f"forks {number}": partial(_forks, number) for number in range(_OF_FORKS)},
        **{
            f"tests of {family}": partial(_pytest, family, paths)
            for family, paths in _BY_PYTEST.items()
        },
        **{
            f"{CONTROL}stock env.py {number}": partial(strike_stock, number, size=limit)
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
            # What a caller prints of its own connection's errors is its own affair; the two others
            # take turns.
            if case == cases[number % len(cases[:2])]:
                families |= {FULL: min(limit, _FAULTS), BROKEN: min(limit, _FAULTS)}
                tasks[f"{case}: {POWER}"] = partial(_power, case)
            for family, size in families.items():
                tasks[f"{case}: {family}"] = partial(_strike, case, family, size)
    return tasks


def _strike(case: Case, family: str, size: int, bench: Bench) -> None:
    prepared = bench.prepare(case)
    for blow in sample(blows(family, prepared), size):
        bench.strike(family, prepared, blow)


def _power(case: Case, bench: Bench) -> None:
    lose_power(bench, bench.prepare(case), at_random=3, every=2)


def _race(number: int, bench: Bench) -> None:
    kinds = [(journal, program) for journal in JOURNALS for program in PROGRAMS]
    journal, program = kinds[number % len(kinds)]
    prepared = bench.prepare(Case(unversioned, *UPGRADE, journal, program))
    for seed in range(number, _ROUNDS, _ROUNDS // 4):
        race(bench, prepared, seed)


def _traffic(journal: str, bench: Bench) -> None:
    (kind,) = (one for one in JOURNALS if one == journal)
    drive(bench, bench.prepare(Case(unversioned, *UPGRADE, kind, "shortsdb")), 5, rows=_ROWS)


def _generated(name: str, bench: Bench) -> None:
    try:
        check(name, _EXAMPLES, derandomize=False)
    except Exception as failure:  # noqa: BLE001 - a refusal or error of any kind is a finding
        bench.figures.find(GENERATED, ROWS, f"{name}: {failure}")
    bench.figures.point(GENERATED, _EXAMPLES)


def _rebuilds(bench: Bench) -> None:
    try:
        counts = try_mutants(_EXAMPLES, derandomize=False)
    except AssertionError as failure:
        bench.figures.find(MUTANTS, ROWS, str(failure))
        return
    bench.figures.point(MUTANTS, counts["mutants"])
    bench.figures.point(FAITHFUL, counts["faithful"])


def _unchecked_rebuilds(bench: Bench) -> None:
    with patch.object(rebuild_checks, "same_rows", lambda *_: True):
        _rebuilds(bench)


def _forks(number: int, bench: Bench) -> None:
    ended_by = [signal.SIGTERM, signal.SIGINT, signal.SIGKILL][number % 3]
    _fork_trial("shortsdb", _FORK_ROUNDS, ended_by, bench)


def _forks_of_plain_engine(bench: Bench) -> None:
    for kind in ("sqlalchemy", "new_pool"):
        _fork_trial(kind, 6, signal.SIGKILL, bench)


def _fork_trial(kind: str, rounds: int, ended_by: signal.Signals, bench: Bench) -> None:
    path = bench.empty() / "daemon.db"
    command.upgrade(alembic_config(str(path)), "head")
    result = fork_traffic.daemon_trial(path, kind, rounds=rounds, ended_by=ended_by)
    bench.figures.point(FORKS, len(result.acknowledged))
    if result.missing:
        bench.figures.find(FORKS, ROWS, f"{kind}: {len(result.missing)} commits are missing")
    if result.damage:
        bench.figures.find(FORKS, HALF, f"{kind}: {result.damage}")


def _pytest(family: str, paths: list[str], bench: Bench, *, without: bool = False) -> None:
    report = bench.empty() / "report.xml"
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
        bench.figures.find(family, FAILED, done.stdout[-300:] + done.stderr[-300:])
        return
    for test in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest's own
        bench.figures.point(family)
        if any(test.find(what) is not None for what in ("failure", "error", "skipped")):
            bench.figures.find(family, FAILED, f"{test.get('classname')}.{test.get('name')}")
