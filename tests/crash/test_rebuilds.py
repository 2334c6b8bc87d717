"""Of generated rebuilds every one that loses or changes something is caught, and no other."""

from __future__ import annotations

import pytest
from rebuilds import try_mutants

from shortsdb.migration import rebuild_checks


def test_every_mutant_is_caught_and_no_faithful_rebuild() -> None:
    counts = try_mutants(150, derandomize=True)
    assert counts["mutants"] > 40
    assert counts["faithful"] > 10


def test_the_control_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the comparison of rows, mutants come through."""
    monkeypatch.setattr(rebuild_checks, "same_rows", lambda *_: True)
    with pytest.raises(AssertionError):
        try_mutants(150, derandomize=True)
