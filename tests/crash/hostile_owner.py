"""Replace names in the folder of a database by links to files of root, in a loop, as its owner.

`python tests/crash/hostile_owner.py FOLDER VICTIM UID FAMILY` gives up being root first, and prints
a line once it has begun. It ends with its parent.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def swap_partial(folder: Path, victim: Path) -> None:
    """Replace every unfinished file in the backup folder by a link."""
    for name in os.listdir(folder / "backups"):  # noqa: PTH208 - speed matters here
        path = folder / "backups" / name
        if name.endswith(".partial") and not path.is_symlink():
            path.unlink()
            path.symlink_to(victim)


def swap_folder(folder: Path, victim: Path) -> None:
    """Replace the backup folder by a link, and restore it."""
    backups, aside = folder / "backups", folder / "aside"
    backups.rename(aside)
    backups.symlink_to(victim.parent)
    backups.unlink()
    aside.rename(backups)


def swap_database(folder: Path, victim: Path) -> None:
    """Replace the database by a link to a database of root, and restore it."""
    database, aside = folder / "d.db", folder / "aside.db"
    database.rename(aside)
    database.symlink_to(victim)
    database.unlink()
    aside.rename(database)


FAMILIES: dict[str, Callable[[Path, Path], None]] = {
    "partial": swap_partial,
    "folder": swap_folder,
    "database": swap_database,
}


def main(folder: Path, victim: Path, uid: int, family: str) -> None:
    """Replace names until the parent exits."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    parent = os.getppid()
    print("begun", flush=True)  # noqa: T201 - read by the parent
    while os.getppid() == parent:
        with suppress(OSError):
            FAMILIES[family](folder, victim)
    shutil.rmtree(folder / "aside", ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
