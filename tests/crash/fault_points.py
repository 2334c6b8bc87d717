"""The points at which a run is killed or a system call fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from figures import AT_CALL, AT_STATEMENT, BROKEN, FULL
from harness import Fault, Prepared
from system_calls import CHANGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from system_calls import Call

T = TypeVar("T")

_FILLS = {"write", "pwrite64", "ftruncate", "mkdir"}


def faults(family: str, prepared: Prepared) -> list[Fault]:
    """Return every possible fault of the family for the case."""
    if family == AT_STATEMENT:
        return [Fault(kill_before=number + 1) for number in range(prepared.statements)]
    return [Fault(inject=injection) for injection in _injections(family, prepared.calls)]


def _injections(family: str, calls: list[Call]) -> Iterator[str]:
    for call in calls:
        here = f"{call.name}:%s:when={call.ordinal}"
        if family == AT_CALL and call.name in CHANGES:
            yield here % "signal=SIGKILL"
        elif family == FULL and call.name in _FILLS:
            yield here % "error=ENOSPC"
            yield here % "error=ENOSPC" + "+"
        elif family == BROKEN and call.name in {*CHANGES, "pread64"}:
            yield here % "error=EIO"
            yield here % "error=EIO" + "+"


def sample(everything: list[T], size: int) -> list[T]:
    """Return at most `size` of the items, evenly spread and including the last one."""
    if len(everything) <= size:
        return everything
    return [everything[(number + 1) * len(everything) // size - 1] for number in range(size)]
