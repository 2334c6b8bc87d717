"""The control: the same faults with Alembic's stock env.py, which does not survive them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import DOWNGRADE, UPGRADE, Case, at_head
from fault_points import faults, sample
from figures import AT_CALL, AT_STATEMENT
from starts import AtRevision, empty_file

if TYPE_CHECKING:
    from harness import Harness

# Stock Alembic cannot upgrade an unversioned file, so the control starts from versioned ones.
CASES = [
    Case(empty_file, *UPGRADE, "DELETE", "stock"),
    Case(AtRevision("0001"), *UPGRADE, "DELETE", "stock"),
    Case(at_head, *DOWNGRADE, "DELETE", "stock"),
]


def run_stock_with_faults(number: int, harness: Harness, size: int) -> None:
    """Kill the stock environment at `size` points of each family of one of the cases."""
    prepared = harness.prepare(CASES[number])
    for family in (AT_STATEMENT, AT_CALL):
        for fault in sample(faults(family, prepared), size):
            harness.run_with_fault(family, prepared, fault)
