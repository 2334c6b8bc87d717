"""The control: the same faults with Alembic's stock env.py, which does not survive them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import DOWNGRADE, UPGRADE, Case, at_head
from fault_points import blows, sample
from figures import AT_CALL, AT_STATEMENT
from starts import at_revision, empty_file

if TYPE_CHECKING:
    from harness import Bench

# Stock Alembic cannot take over what has no version, so the control starts from what has one.
CASES = [
    Case(empty_file, *UPGRADE, "DELETE", "stock"),
    Case(at_revision("0001"), *UPGRADE, "DELETE", "stock"),
    Case(at_head, *DOWNGRADE, "DELETE", "stock"),
]


def strike_stock(number: int, bench: Bench, size: int) -> None:
    """Kill the stock environment at `size` points of each family of one of the cases."""
    prepared = bench.prepare(CASES[number])
    for family in (AT_STATEMENT, AT_CALL):
        for blow in sample(blows(family, prepared), size):
            bench.strike(family, prepared, blow)
