"""A pytest plugin that disables the protection a family of tests covers, so that they must fail.

`SHORTSDB_WITHOUT=name python -m pytest -p without …` is the control of families that are tests.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from shortsdb import printable
from shortsdb.sqlite import files

if TYPE_CHECKING:
    from collections.abc import Callable


def _without_patterns() -> None:
    """Let passwords be printed."""
    never = re.compile(r"(?!)()")
    vars(printable).update(_USER_AND_PASSWORD=never, _ASSIGNED=never)


def _with_mode_of_source() -> None:
    """Give a backup the mode of its database, ignoring their folders."""
    vars(files).update(_mode_of_copy=lambda _source, found, _folder: found.st_mode & 0o777)


MECHANISMS: dict[str, Callable[[], None]] = {
    "hostile names": _without_patterns,
    "file modes": _with_mode_of_source,
}


def pytest_configure() -> None:
    """Disable the mechanism before any test is imported."""
    MECHANISMS[os.environ["SHORTSDB_WITHOUT"]]()
