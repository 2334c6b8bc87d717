"""A bar on the terminal that says how far something has come."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WIDTH = 30


@contextmanager
def progress_line(label: str) -> Iterator[Callable[[float], None]]:
    """Give a function that shows a share from 0 to 1, on a terminal and after a second only."""
    begun = time.monotonic()
    shown = ""

    def show(share: float) -> None:
        nonlocal shown
        line = f"\r{label} [{'#' * int(share * _WIDTH):<{_WIDTH}}] {share:4.0%}"
        if line != shown and sys.stderr.isatty() and time.monotonic() - begun > 1:
            shown = line
            sys.stderr.write(line)
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write("\n")
