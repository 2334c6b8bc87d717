"""The specification of one run of a migration, sent by the harness to a forked process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Program = Literal["shortsdb", "alembic", "async", "stock"]


@dataclass(frozen=True)
class Job:
    """One run and its fault.

    The programs are the two commands as users run them; an async connection passed in by the
    caller; and Alembic's stock env.py on the same revisions, for the control.
    """

    program: Program
    url: str
    command: str
    arguments: list[str]
    output: str
    """The file for the output of the run."""
    kill_before: int = 0
    """The statement before which SIGKILL is sent, counted from 1 and including COMMIT; 0: never."""
    kill_at_end: bool = False
    """Whether SIGKILL is sent at the end, if it was not sent before."""
    stall: int | None = None
    """The seed of random delays before statements; None: no delays."""
    count_into: str | None = None
    """The file for the number of statements."""
