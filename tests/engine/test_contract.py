"""The contract of sessions against a model of it, step by step and all at once."""

from __future__ import annotations

import pytest
from contract_machine import ContractMachine, World
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

QUICK = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def check_steps(url: str, profile: settings) -> None:
    """Play sessions step by step, as many times as the profile says."""
    with World(url) as world:
        run_state_machine_as_test(lambda: ContractMachine(world), settings=profile)


# Two sessions may delete one row.
@pytest.mark.filterwarnings("ignore:DELETE statement on table")
def test_sessions_step_by_step(url: str) -> None:
    check_steps(url, QUICK)
