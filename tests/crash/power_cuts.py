"""Cut the power at points of a recorded run, and check the resulting database."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from cases import DATABASE
from database_state import examine
from figures import BACKUPS, POWER, UNTRUE
from harness import complete_backups
from power_loss import Disk

# Calls that affect the durability of folders and names are never skipped.
_OF_FOLDERS = {"mkdir", "mkdirat", "rename", "renameat", "renameat2"}

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Harness, Prepared
    from power_loss import Loss


def lose_power(harness: Harness, prepared: Prepared, at_random: int, every: int = 1) -> None:
    """Lose power after every `every`-th call of the run, and after the last one.

    Args:
        harness: Checks the results.
        prepared: The case; its recorded run is replayed.
        at_random: How often to lose a random part, in addition to losing all and losing nothing.
        every: 1 for every call; calls that make folders and names durable are always included.
    """
    rng = random.Random(str(prepared.case))  # noqa: S311 - reproducible, not secret
    some: list[Loss] = ["at random"] * at_random
    losses: list[Loss] = ["all lost", "all kept", *some]
    disk = Disk(prepared.template)
    seen: set[int] = set()
    offset = rng.randrange(every)  # so that different cases skip different calls
    for number, call in enumerate(prepared.calls, start=1):
        disk.do(call)
        last = number == len(prepared.calls)
        of_folder = call.name in _OF_FOLDERS or (
            call.name in {"fsync", "fdatasync"} and disk.is_folder(call.paths[0])
        )
        if number % every != offset and not last and not of_folder:
            continue
        for loss in losses:
            files = disk.lose_power(loss, rng)
            # Many calls lead to the same contents, which are checked once.
            if (found := hash(frozenset(files.items()))) in seen and not last:
                continue
            seen.add(found)
            harness.figures.point(POWER)
            folder = harness.empty()
            _write(files, folder)
            if last:
                state, _ = examine(folder / DATABASE, [prepared.old, prepared.new])
                if state == prepared.old != prepared.new:
                    detail = f"{prepared.case}: power lost after success, {loss}: the old state"
                    harness.figures.find(POWER, UNTRUE, detail)
                kept = [examine(path, prepared.leaves)[0] for path in complete_backups(folder)]
                if any(kept.count(copy) < prepared.leaves.count(copy) for copy in prepared.leaves):
                    detail = f"{prepared.case}: power lost after success, {loss}: no backup"
                    harness.figures.find(POWER, BACKUPS, detail)
                if loss == "all kept" and state != prepared.new:
                    raise RuntimeError(f"{prepared.case}: the recording lacks calls")
            harness.check(POWER, prepared, folder, f"power lost after call {number}, {loss}")


def _write(files: dict[Path, bytes], folder: Path) -> None:
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
