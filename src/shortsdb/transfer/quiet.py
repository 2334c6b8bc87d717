"""Upgrades that are part of something else need not be told of."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger("shortsdb.migration")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep migrations from logging what they do."""
    level = _log.level
    _log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        _log.setLevel(level)
