"""Every lossy generated rebuild is refused, and every lossless one passes."""

from __future__ import annotations

import pytest
from rebuilds import try_mutants

from shortsdb.migration import rebuild_checks


def test_lossy_rebuilds_are_refused_and_lossless_ones_pass() -> None:
    counts = try_mutants(150, derandomize=True)
    assert counts["mutants"] > 40
    assert counts["faithful"] > 10


def test_control_lossy_rebuilds_pass_without_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the comparison of rows, lossy rebuilds are not refused."""
    monkeypatch.setattr(rebuild_checks, "same_rows", lambda *_: True)
    with pytest.raises(AssertionError):
        try_mutants(150, derandomize=True)
