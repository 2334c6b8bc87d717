"""Which programs have a file open, as far as this user can see."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from shortsdb.printable import printable
from shortsdb.sqlite.files import identity

_PROCESSES = Path("/proc")


def open_by(file: Path) -> list[str] | None:
    """Return the other processes that have a file open, each as "NAME (PID)".

    Linux shows the files of other users' processes to root only, so that an empty list is no proof.

    Args:
        file: The file.

    Returns:
        None where the system does not show it.
    """
    if not (_PROCESSES / "self" / "fd").is_dir() or not file.exists():
        return None
    wanted = identity(file.stat())
    found = []
    for process in _PROCESSES.glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with suppress(OSError):  # it has ended, or is another user's
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    if identity(descriptor.stat()) == wanted:
                        name = printable((process / "comm").read_text(errors="replace").strip())
                        found.append(f"{name} ({process.name})")
                        break
    return sorted(found)
