"""The specification of one run of a migration, sent by the harness to a forked process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Program = Literal["shortsdb", "alembic", "async", "stock"]


@dataclass(frozen=True)
class Job:
    """One run, and what befalls it.

    Programs: the two commands as their users type them; a caller's own async connection, handed
    in; and Alembic's stock env.py on the same revisions, for the control.
    """

    program: Program
    url: str
    command: str
    arguments: list[str]
    output: str
    """The file that takes what the run prints."""
    kill_before: int = 0
    """SIGKILL before this statement, counted from 1; COMMIT counts as one. 0: never."""
    kill_at_end: bool = False
    """SIGKILL at the end, if no statement before was the one."""
    stall: int | None = None
    """The seed of random stalls before statements; None: no stalls."""
    count_into: str | None = None
    """The file that takes the number of statements."""
