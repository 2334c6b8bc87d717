"""A progress bar on the terminal."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from shortsdb.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WIDTH = 30


@contextmanager
def progress_line(label: str) -> Iterator[Callable[[float], None]]:
    """Yield a function that shows a share from 0 to 1, but only on a terminal and after 1 s."""
    begun = time.monotonic()
    label = printable(label)
    shown = ""

    def show(share: float) -> None:
        nonlocal shown
        line = f"\r{label} [{'#' * int(share * _WIDTH):<{_WIDTH}}] {share:4.0%}"
        if line != shown and time.monotonic() - begun > 1 and _on_terminal():
            shown = line
            _write(line)

    try:
        yield show
    finally:
        if shown:
            _write("\n")


def _on_terminal() -> bool:
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def _write(text: str) -> None:
    with suppress(OSError):  # a terminal that hung up must not stop the work
        sys.stderr.write(text)
        sys.stderr.flush()
