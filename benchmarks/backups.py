"""Backups of a file, alone and beside deployed code that writes to it."""

from __future__ import annotations

import os
import shutil
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import migrators
from measure import (
    PROGRAMS,
    Run,
    Scale,
    Table,
    in_turn,
    median_of,
    milliseconds,
    progress,
    run_program,
    with_ratio,
)
from migrators import DATABASE
from stall import Stall, beside_writer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TITLE = "Backups"

SHORTSDB = "shortsdb: `shortsdb backup`"
LIMIT = "limit: `cp` and `sync`"
_COPY = "copy.db"

HOW = """\
Wall time of the whole program, how many times that of `cp` and `sync`, and what it wrote. Each copy
is durable when the program ends; the sqlite3 program's are made so by `sync`. Only shortsdb reads
its copy again, to look for damage: with the sqlite3 program, that is `PRAGMA quick_check` of the
copy, which has a line of its own. `cp` of a file that others write to is no backup: it is the limit
of the disk. litestream was looked for too, but no package of PyPI, npm or Debian has it."""
HOW_BESIDE = """\
The deployed code inserts a row, commits, and rests for up to 20 ms, in a file with the rollback
journal that deployed files have. The figure is its longest transaction, and how many of them
failed; then the wall time of the program, of all rounds, which fails when it has waited five
seconds for the lock. SQLite's own copying begins anew when somebody has written meanwhile, unless
it holds the lock to its end, as VACUUM INTO does."""


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure all, below an empty folder."""
    places = {rows: folder / str(rows) for rows in scale.deployed_rows if rows}
    for rows, place in places.items():
        progress(f"{TITLE}: making a deployed file of {rows:,} rows")
        migrators.make_deployed(place, rows)
    sizes = [
        f"{rows:,} rows, {(place / DATABASE).stat().st_size / 2**20:,.0f} MiB"
        for rows, place in places.items()
    ]
    programs = _programs()
    progress(f"{TITLE}: alone")
    runs = in_turn(
        scale.file_rounds,
        {
            (who, rows): partial(_back_up, command, places[rows])
            for (who, command), rows in product(programs.items(), places)
        },
    )
    progress(f"{TITLE}: beside the deployed code")
    took: dict[tuple[str, int], list[float | None]] = {}
    beside = in_turn(
        scale.file_rounds,
        {
            (who, rows): partial(_beside, command, places[rows], took.setdefault((who, rows), []))
            for (who, command), rows in product(programs.items(), places)
            if who != LIMIT
        },
    )
    return [
        Table("Nobody writes; ms", ["", *sizes], _alone(runs), [HOW]),
        Table("Deployed code writes; ms", ["", *sizes], _stalled(beside, took), [HOW_BESIDE]),
    ]


def _programs() -> dict[str, tuple[str | Path, ...]]:
    shell = shutil.which("sh") or "/bin/sh"
    programs: dict[str, tuple[str | Path, ...]] = {
        SHORTSDB: (PROGRAMS / "shortsdb", "backup", "--url", DATABASE),
        LIMIT: (shell, "-c", f"cp {DATABASE} {_COPY} && sync {_COPY}"),
    }
    if shutil.which("sqlite3"):
        sqlite = f"sqlite3 -bail -cmd '.timeout 5000' {DATABASE}"
        check = f'test "$(sqlite3 {_COPY} "PRAGMA quick_check")" = ok'
        programs |= {
            "sqlite3: `.backup`": (shell, "-c", f"{sqlite} '.backup {_COPY}' && sync {_COPY}"),
            "sqlite3: `.backup`, then `quick_check`": (
                *(shell, "-c"),
                f"{sqlite} '.backup {_COPY}' && sync {_COPY} && {check}",
            ),
            "sqlite3: `VACUUM INTO`": (
                *(shell, "-c"),
                f"{sqlite} \"VACUUM INTO '{_COPY}'\" && sync {_COPY}",
            ),
        }
    return programs


def _back_up(command: Sequence[str | Path], place: Path) -> Run:
    os.sync()  # what others have written is not to be waited for
    run = run_program(*command, cwd=place)
    shutil.rmtree(place / "backups", ignore_errors=True)
    (place / _COPY).unlink(missing_ok=True)
    return run


def _beside(command: Sequence[str | Path], place: Path, took: list[float | None]) -> Stall:
    def work() -> None:
        try:
            took.append(_back_up(command, place).seconds)
        except RuntimeError:  # it found the database locked
            took.append(None)
            (place / _COPY).unlink(missing_ok=True)

    return beside_writer(work, place)


def _alone(runs: Mapping[tuple[str, int], Sequence[Run]]) -> list[list[str]]:
    table: dict[str, list[str]] = {}
    for (who, rows), of_it in runs.items():
        figures = [run.seconds for run in of_it]
        cell = with_ratio(figures, [run.seconds for run in runs[LIMIT, rows]])
        table.setdefault(who, [who]).append(f"{cell}, {median_of(of_it, 'written_mib'):,.0f} MiB")
    return list(table.values())


def _stalled(
    stalls: Mapping[tuple[str, int], Sequence[Stall]],
    took: Mapping[tuple[str, int], Sequence[float | None]],
) -> list[list[str]]:
    table: dict[str, list[str]] = {}
    for (who, rows), of_it in stalls.items():
        longest = milliseconds([stall.longest for stall in of_it])
        errors = sum(stall.errors for stall in of_it)
        done = [seconds for seconds in took[who, rows] if seconds is not None]
        failed = f"failed {len(of_it) - len(done)} times" if len(done) < len(of_it) else ""
        ran = ", ".join(filter(None, [milliseconds(done) if done else "", failed]))
        cell = f"{longest}, {errors} errors; {ran}"
        table.setdefault(who, [who]).append(cell)
    return list(table.values())
