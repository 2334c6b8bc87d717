"""The short form of the crash tests, at points spread evenly; `make torture` takes every point."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from cases import JOURNALS, UPGRADE, Case, some_cases
from database_state import HALF
from fault_points import faults, sample
from figures import AT_CALL, AT_STATEMENT, BROKEN, FULL, SECOND_RUNS, Figures
from generated import PROPERTIES, check
from harness import Harness, Prepared
from power_cuts import lose_power
from races import race
from starts import unversioned
from stock_baseline import CASES, run_stock_with_faults
from tasks import all_tasks
from traffic import drive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Journal


def test_every_task_of_the_whole_torture_can_be_sent_to_a_process() -> None:
    assert len(pickle.dumps(all_tasks(limit=1))) > 0


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with Harness(tmp_path_factory.mktemp("harness"), Figures()) as harness:
        yield harness


@pytest.fixture(scope="module")
def prepared(harness: Harness) -> list[Prepared]:
    """Return every starting point with every journal mode, prepared."""
    return [harness.prepare(case) for case in some_cases()]


@pytest.fixture
def figures(harness: Harness, capsys: pytest.CaptureFixture[str]) -> Iterator[Figures]:
    """Return new figures for a test, and print them after it."""
    harness.figures = Figures()
    yield harness.figures
    with capsys.disabled():
        print(f"\n{harness.figures.table()}")  # noqa: T201 - shown to people


@pytest.mark.parametrize("family", [AT_STATEMENT, AT_CALL, FULL, BROKEN])
def test_nothing_is_lost(
    harness: Harness, prepared: list[Prepared], figures: Figures, family: str
) -> None:
    everything = [
        (case, fault)
        for case in prepared
        # The async caller handles its own errors.
        if family in {AT_STATEMENT, AT_CALL} or case.case.program != "async"
        for fault in faults(family, case)
    ]
    for case, fault in sample(everything, 100):
        harness.run_with_fault(family, case, fault)
    assert figures.points[family] == 100
    assert not figures.report()


def test_power_loss_leaves_the_old_or_new_schema(
    harness: Harness, prepared: list[Prepared], figures: Figures
) -> None:
    for case in prepared:
        if case.case.program == "shortsdb":
            lose_power(harness, case, at_random=1, every=25)
    assert figures.points
    assert not figures.report()


@pytest.mark.parametrize("journal", JOURNALS)
def test_sixteen_concurrent_upgrades_reach_one_schema(
    harness: Harness, figures: Figures, journal: Journal
) -> None:
    case = harness.prepare(Case(unversioned, *UPGRADE, journal, "shortsdb"))
    for seed in range(3):
        race(harness, case, seed)
    assert not figures.report()


@pytest.mark.parametrize("journal", JOURNALS)
def test_deployed_code_works_during_upgrades(
    harness: Harness, figures: Figures, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    drive(harness, harness.prepare(Case(unversioned, *UPGRADE, journal, "shortsdb")), rounds=5)
    with capsys.disabled():
        print(f"\nlongest stall, {journal}: {figures.longest_stall:.3f} s")  # noqa: T201 - as above
    assert not figures.report()


@pytest.mark.parametrize("name", PROPERTIES)
def test_generated_databases(name: str) -> None:
    check(name, 20, derandomize=True)


def test_control_the_stock_environment_leaves_half_states(
    harness: Harness, figures: Figures
) -> None:
    for number in range(len(CASES)):
        run_stock_with_faults(number, harness, 10)
    assert figures.of_kind(HALF)
    assert figures.of_kind(SECOND_RUNS)
