"""Run a function as another user, in a separate process; needs root."""

from __future__ import annotations

import os
import pickle
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Imports a module that another user may not be able to read.
datetime.strptime("2026", "%Y").astimezone(UTC)

OWNER, MEMBER, STRANGER = 4711, 4712, 4713
"""Users, each with a group of the same number."""
TEAM = 4720

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def run_as(user: int, function: Callable[[], T], *groups: int) -> T:
    """Run a function as a user with further groups, and return its result or raise its error.

    It runs in a fork, because another user may not be able to read Python's modules.
    """
    reader, writer = os.pipe()
    if pid := os.fork():
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            content = pipe.read()
        os.waitpid(pid, 0)
        result, error = pickle.loads(content)  # noqa: S301 - our own
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]
    try:
        os.setgroups(groups)
        os.setgid(user)
        os.setuid(user)
        try:
            answer: tuple[object, Exception | None] = (function(), None)
        except Exception as error:  # noqa: BLE001 - raised in the parent
            answer = (None, error)
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
    finally:
        os._exit(0)
