"""The short form of the crash tests, at points spread evenly; `make torture` takes every point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cases import JOURNALS, UPGRADE, Case, some_cases
from database_state import HALF
from fault_points import blows, sample
from figures import AT_CALL, AT_STATEMENT, BROKEN, FULL, SECOND_RUNS, Figures
from generated import PROPERTIES, check
from harness import Bench, Prepared
from power_cuts import lose_power
from races import race
from starts import unversioned
from stock_baseline import CASES, strike_stock
from traffic import drive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Journal


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("bench"), Figures()) as bench:
        yield bench


@pytest.fixture(scope="module")
def prepared(bench: Bench) -> list[Prepared]:
    """Return every start with every journal, ready to be struck."""
    return [bench.prepare(case) for case in some_cases()]


@pytest.fixture
def figures(bench: Bench, capsys: pytest.CaptureFixture[str]) -> Iterator[Figures]:
    """Return figures of a test's own, and print them after it."""
    bench.figures = Figures()
    yield bench.figures
    with capsys.disabled():
        print(f"\n{bench.figures.table()}")  # noqa: T201 - how many there were is for people to see


@pytest.mark.parametrize("family", [AT_STATEMENT, AT_CALL, FULL, BROKEN])
def test_nothing_is_lost(
    bench: Bench, prepared: list[Prepared], figures: Figures, family: str
) -> None:
    everything = [
        (case, blow)
        for case in prepared
        # What a caller prints of its own connection's errors is its own affair.
        if family in {AT_STATEMENT, AT_CALL} or case.case.program != "async"
        for blow in blows(family, case)
    ]
    for case, blow in sample(everything, 100):
        bench.strike(family, case, blow)
    assert figures.points[family] == 100
    assert not figures.report()


def test_power_loss_leaves_the_old_or_new_schema(
    bench: Bench, prepared: list[Prepared], figures: Figures
) -> None:
    for case in prepared:
        if case.case.program == "shortsdb":
            lose_power(bench, case, at_random=1, every=25)
    assert figures.points
    assert not figures.report()


@pytest.mark.parametrize("journal", JOURNALS)
def test_sixteen_concurrent_upgrades_reach_one_schema(
    bench: Bench, figures: Figures, journal: Journal
) -> None:
    case = bench.prepare(Case(unversioned, *UPGRADE, journal, "shortsdb"))
    for seed in range(3):
        race(bench, case, seed)
    assert not figures.report()


@pytest.mark.parametrize("journal", JOURNALS)
def test_deployed_code_works_during_upgrades(
    bench: Bench, figures: Figures, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    drive(bench, bench.prepare(Case(unversioned, *UPGRADE, journal, "shortsdb")), rounds=5)
    with capsys.disabled():
        print(f"\nlongest stall, {journal}: {figures.longest_stall:.3f} s")  # noqa: T201 - as above
    assert not figures.report()


@pytest.mark.parametrize("name", PROPERTIES)
def test_generated_databases(name: str) -> None:
    check(name, 20, derandomize=True)


def test_control_the_stock_environment_leaves_half_states(bench: Bench, figures: Figures) -> None:
    for number in range(len(CASES)):
        strike_stock(number, bench, 10)
    assert figures.of_kind(HALF)
    assert figures.of_kind(SECOND_RUNS)
