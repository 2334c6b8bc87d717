"""The cases: every promised starting point, command, journal mode and driver."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import legacy_database
from alembic import command
from sample_rows import fill_new_tables
from starts import REVISIONS, STARTS, AtRevision, create_all, no_file, unversioned

from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from run_spec import Program

DATABASE = "database.db"
Journal = Literal["DELETE", "WAL"]


@dataclass(frozen=True)
class Case:
    """A starting point, and a command that one of the programs runs on it."""

    start: Callable[[Path], None]
    command: str
    arguments: tuple[str, ...]
    journal: Journal
    program: Program

    def __str__(self) -> str:
        """Return a unique name for the case."""
        name = f"{self.start.__name__} {' '.join((self.command, *self.arguments))}"
        return f"{name}, {self.journal}, {self.program}"


def at_head(path: Path) -> None:
    """Make a deployed file, upgrade it and fill the new tables."""
    unversioned(path)
    command.upgrade(alembic_config(str(path)), "head")
    fill_new_tables(path)


def adopted_at_head(path: Path) -> None:
    """Create a file by create_all with rows in all ten tables, and let an upgrade adopt it."""
    create_all(path)
    command.upgrade(alembic_config(str(path)), "head")


def restorable(path: Path) -> None:
    """Create a file at head, and a second file that will be restored over it."""
    at_head(path)
    legacy_database.make(path.with_name(SAVED), rows=200)


SAVED = "saved.db"
UPGRADE = ("upgrade", ("head",))
DOWNGRADE = ("downgrade", ("0001", "--yes"))
COMMANDS: list[tuple[Callable[[Path], None], str, tuple[str, ...]]] = [
    *((start, *UPGRADE) for start in STARTS),
    *((start, *DOWNGRADE) for start in (at_head, adopted_at_head)),
    *((AtRevision(revision), *DOWNGRADE) for revision in REVISIONS[1:-1]),
    *((start, "backup", ()) for start in (unversioned, at_head)),
    (restorable, "restore", (f"{{folder}}/{SAVED}", "--yes")),
]
JOURNALS: tuple[Journal, ...] = ("DELETE", "WAL")
PROGRAMS: tuple[Program, ...] = ("shortsdb", "alembic", "async")


def all_cases() -> list[Case]:
    """Return every starting point with every journal mode and program."""
    return [
        Case(start, name, arguments, journal, program)
        for start, name, arguments in COMMANDS
        for journal in JOURNALS
        # A file that does not exist has no journal mode.
        if (start, journal) != (no_file, "WAL")
        # Only shortsdb's own command knows backup and restore.
        for program in (PROGRAMS if name in {"upgrade", "downgrade"} else PROGRAMS[:1])
    ]


def grouped() -> list[list[Case]]:
    """Return all cases, grouped so that the cases of a group differ only in their program."""
    groups: dict[tuple[object, ...], list[Case]] = {}
    for case in all_cases():
        groups.setdefault((case.start, case.command, case.journal), []).append(case)
    return list(groups.values())


def some_cases() -> list[Case]:
    """Return every starting point with every journal mode, alternating between the programs."""
    return [cases[number % len(cases)] for number, cases in enumerate(grouped())]


def make_start(case: Case, folder: Path) -> None:
    """Create the database of the case's starting point in the folder."""
    path = folder / DATABASE
    case.start(path)
    if case.journal == "WAL":
        _leave_rows_in_wal(path)


def _leave_rows_in_wal(path: Path) -> None:
    """Switch to WAL and leave a row in the -wal, like a killed pipeline."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        if connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'pipeline_runs'"
        ).fetchone():
            with connection:
                connection.execute(
                    "INSERT INTO pipeline_runs (niche, cycle_start, cycle_end, status, retry_count)"
                    " VALUES ('wal', '2026-01-01 00:00:00', '2026-01-02 00:00:00', 'running', 0)"
                )
        # The last connection to close would merge the -wal into the database.
        names = [name for name in (path.name, f"{path.name}-wal") if path.with_name(name).exists()]
        for name in names:
            shutil.copy(path.with_name(name), path.with_name(f"kept-{name}"))
    for name in names:
        path.with_name(f"kept-{name}").replace(path.with_name(name))
