"""Paths given by users: make them absolute, expand ~, and refuse text that may hold a password."""

from __future__ import annotations

import os
import re
from pathlib import Path

from shortsdb.errors import OperationRefused

# Patterns of text that may hold a password. A path that matches the first one can be written with
# ./ or as an absolute path; the second one is refused anywhere.
_BEGINS_LIKE_NO_PATH = re.compile(
    r"\s*\w+\s*="  # host=... of libpq
    r"|(//)?[^/]+:"  # postgresql:/u:pw@h/db, u:pw@h
)
_HOLDS_A_PASSWORD = re.compile(
    r":.*@|(pass(word|wd|phrase)|\bpwd)\w*\s*=", re.IGNORECASE | re.DOTALL
)


def may_hold_password(text: str) -> bool:
    """Return whether a text that is not a server URL may hold a password."""
    return _HOLDS_A_PASSWORD.search(text) is not None


def plausible_path(given: str | os.PathLike[str]) -> Path:
    """Return the absolute path for a path given by a caller, with ~ expanded.

    A text is not a plausible path if it may hold a password: it begins with `WORD=` or `WORD:`, or
    contains a colon before an @, or `password=`. The first two are allowed after ./ or /.

    Raises:
        OperationRefused: The text is not a plausible path, or names the home folder of an unknown
            user.
    """
    if isinstance(given, str) and (
        "://" in given or _BEGINS_LIKE_NO_PATH.match(given) or may_hold_password(given)
    ):
        raise OperationRefused(
            "this is neither a URL nor plausibly a path; a URL has the form sqlite:///PATH or "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, and a path that contains : or = "
            "needs ./ before it"
        )
    return absolute(os.fspath(given))


def absolute(given: str) -> Path:
    """Return an absolute path with ~ expanded; links are not followed.

    Raises:
        OperationRefused: The path names the home folder of an unknown user.
    """
    expanded = os.path.expanduser(given)  # noqa: PTH111 - does not raise
    if expanded.startswith("~"):
        raise OperationRefused(
            "the path begins with ~, and there is no such user; write the path in full, or ./~ for "
            "a file of that name"
        )
    return Path(os.path.abspath(expanded))  # noqa: PTH100 - resolves no link
