"""Paths that users name: made absolute, ~ expanded, and refused if they may hold a password."""

from __future__ import annotations

import os
import re
from pathlib import Path

from shortsdb.errors import OperationRefused

# What may hold a password. A path that really looks like that is written with ./ before it, or in
# full; the last two of these are refused anywhere.
_BEGINS_LIKE_NO_PATH = re.compile(
    r"\s*\w+\s*="  # host=... of libpq
    r"|(//)?[^/]+:"  # postgresql:/u:pw@h/db, u:pw@h
)
_HOLDS_A_PASSWORD = re.compile(
    r":.*@|(pass(word|wd|phrase)|\bpwd)\w*\s*=", re.IGNORECASE | re.DOTALL
)


def may_hold_password(text: str) -> bool:
    """Return whether there may be a password in a text that is not a URL of a server."""
    return _HOLDS_A_PASSWORD.search(text) is not None


def plausible_path(given: str | os.PathLike[str]) -> Path:
    """Return the absolute path that a caller gives, ~ expanded.

    A text is a plausible path unless there may be a password in it: it begins with `WORD=` or
    `WORD:`, or contains a colon before an @, or `password=`. A text that begins with ./ or / may
    have the first two.

    Raises:
        OperationRefused: It is not a plausible path, or names the home folder of an unknown user.
    """
    if isinstance(given, str) and (
        "://" in given or _BEGINS_LIKE_NO_PATH.match(given) or may_hold_password(given)
    ):
        raise OperationRefused(
            "this is neither a URL nor plausibly a path; a URL has the form sqlite:///PATH or "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, and a path that has : or = in its "
            "name is written with ./ before it"
        )
    return absolute(os.fspath(given))


def absolute(given: str) -> Path:
    """Return an absolute path, ~ expanded; links are not followed.

    Raises:
        OperationRefused: It names the home folder of an unknown user.
    """
    expanded = os.path.expanduser(given)  # noqa: PTH111 - raises nothing
    if expanded.startswith("~"):
        raise OperationRefused(
            "the path begins with ~, and there is no such user; write it out, or ./~ for a file of "
            "that name"
        )
    return Path(os.path.abspath(expanded))  # noqa: PTH100 - resolves no link
