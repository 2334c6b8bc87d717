"""Progress is shown on a terminal, and only if the work takes long."""

from __future__ import annotations

import io
import sys
import time
from contextlib import suppress

import pytest

from shortsdb.sqlite.progress import progress_line


class Terminal(io.StringIO):
    """A terminal that records, or that has hung up."""

    def __init__(self, *, broken: bool = False) -> None:
        """Begin with nothing."""
        super().__init__()
        self.broken = broken
        self.flushed = 0

    def isatty(self) -> bool:
        """Say that this is a terminal."""
        return True

    def write(self, text: str, /) -> int:
        """Record, or fail."""
        if self.broken:
            raise OSError("hung up")
        return super().write(text)

    def flush(self) -> None:
        """Count."""
        self.flushed += 1


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a clock: its only number is the time."""
    moment = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    return moment


def test_each_share_is_shown_once_and_the_line_is_ended(
    monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_line("backup of a\nb") as show:
        show(0.25)
        now[0] += 1
        show(0.25)
        assert terminal.getvalue() == ""
        now[0] += 0.1
        show(0.5)
        show(0.5)
        show(1)
        assert terminal.flushed == 2
    half = f"[{'#' * 15}{' ' * 15}]"
    full = f"[{'#' * 30}]"
    assert terminal.getvalue() == f"\rbackup of a\\nb {half}  50%\rbackup of a\\nb {full} 100%\n"


@pytest.mark.parametrize("stream", [None, io.StringIO(), "closed", "broken"])
def test_elsewhere_nothing_is_written_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, now: list[float], stream: object
) -> None:
    if isinstance(stream, str):
        stream = Terminal(broken=stream == "broken")
        if not stream.broken:
            stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_line("x") as show:
        now[0] += 2
        show(0.5)
    if stream is not None and not getattr(stream, "closed", True):
        assert isinstance(stream, io.StringIO)
        assert stream.getvalue() == ""


def test_a_line_is_ended_if_the_work_fails(
    monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with suppress(ValueError), progress_line("x") as show:
        now[0] += 2
        show(0)
        raise ValueError("failed")
    assert terminal.getvalue() == f"\rx [{' ' * 30}]   0%\n"


def test_a_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_line("x") as show:
        show(0.5)
    assert terminal.getvalue() == ""
