"""How the deploy grows with the file, and how long the deployed code has to wait meanwhile."""

from __future__ import annotations

import os
import shutil
import statistics
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import migrators
from measure import (
    Run,
    Scale,
    Table,
    in_turn,
    milliseconds,
    progress,
    ratio,
    run_program,
    with_ratio,
)
from migrators import DATABASE, Migrator
from stall import Stall, beside_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TITLE = "How the deploy grows, and who waits for it"
NOBODY = "nobody, for two seconds"

HOW = """\
Wall time of the whole program, and how many times that of an empty file. Each starts from a file
that others have upgraded before and whose new tables were dropped again. No peer makes a backup.
Django checks all foreign keys of the file at the end of each migration, holding the write lock."""
HOW_BACKUP = """\
The copy that shortsdb makes is also read once more, to look for damage, which `cp` does not do; and
it is made page by page through SQLite, so that whoever writes meanwhile does not spoil it. A file
without a row is not backed up."""
HOW_STALLED = """\
The deployed code is a process that inserts a row, commits, and rests for up to 20 ms, in a file
with the rollback journal that the deployed files have, with the five seconds that sqlite3 waits by
default. The figure is its longest transaction while the program ran, from connecting to the commit;
errors are added where it saw any. shortsdb with a backup: with a rollback journal nobody can commit
while somebody reads, so SQLite's copying is let go after every 8 MB, and begins anew when somebody
has written meanwhile. The third time the file is copied while the writer goes on, and then what has
changed while it waits. A copy that took less than a second is made again under the lock of the
upgrade, so that nothing is missing from it."""


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure all, below an empty folder."""
    off, on = migrators.shortsdb(backup=False), migrators.shortsdb(backup=True)
    everybody = [off, on, *migrators.peers(folder)]
    places = {rows: folder / str(rows) for rows in scale.deployed_rows}
    for rows, place in places.items():
        progress(f"{TITLE}: making a deployed file of {rows:,} rows")
        migrators.make_deployed(place, rows)

    if scale.file_rounds > 1:
        migrators.warm_up(everybody, next(iter(places.values())))
    progress(f"{TITLE}: upgrades")
    works: dict[tuple[Migrator | None, int], Callable[[], Run]] = {
        (who, rows): partial(_upgrade, who, places[rows])
        for rows, who in product(places, everybody)
    }
    works |= {(None, rows): partial(_copy, place) for rows, place in places.items()}
    runs = in_turn(scale.file_rounds, works)

    progress(f"{TITLE}: beside the deployed code")
    stalls = in_turn(
        scale.file_rounds,
        {
            (who, rows): partial(_stall, who, places[rows])
            for rows, who in product(places, [*everybody, None])
        },
    )
    sizes = [f"{rows:,} rows, {_mib(place):,.0f} MiB" for rows, place in places.items()]
    return [
        Table("Wall time of an upgrade, ms", ["", *sizes], _grown(runs), [HOW]),
        Table(
            "What the backup adds, ms",
            ["", *(size for rows, size in zip(places, sizes, strict=True) if rows)],
            _backups(runs, on, off),
            [HOW_BACKUP],
        ),
        Table(
            "The longest stall of the deployed code, ms",
            ["while there runs", *sizes],
            _stalled(stalls),
            [HOW_STALLED],
        ),
    ]


def _mib(place: Path) -> float:
    return (place / DATABASE).stat().st_size / 2**20


def _upgrade(who: Migrator, place: Path) -> Run:
    migrators.undo(place)
    who.prepare(place)
    os.sync()  # what others have written is not to be waited for
    run = who.upgrade(place)
    migrators.check(place)
    return run


def _copy(place: Path) -> Run:
    """Copy the file with cp, and make the copy durable."""
    shell = shutil.which("sh") or "/bin/sh"
    os.sync()
    run = run_program(shell, "-c", f"cp {DATABASE} copy.db && sync copy.db", cwd=place)
    (place / "copy.db").unlink()
    return run


def _stall(who: Migrator | None, place: Path) -> Stall:
    migrators.undo(place)
    if who is not None:
        who.prepare(place)
    os.sync()
    stall = beside_writer(partial(who.upgrade, place) if who else None, place)
    if who is not None:
        migrators.check(place)
    return stall


def _by_who(
    results: Mapping[tuple[Migrator | None, int], Sequence[Run]], who: Migrator | None
) -> dict[int, list[float]]:
    return {
        rows: [run.seconds for run in of_it]
        for (other, rows), of_it in results.items()
        if other == who
    }


def _grown(runs: Mapping[tuple[Migrator | None, int], Sequence[Run]]) -> list[list[str]]:
    table = []
    for who in dict.fromkeys(who for who, _ in runs if who is not None):
        of_it = _by_who(runs, who)
        empty = of_it[min(of_it)]
        table.append([who.name, *(with_ratio(run, empty) for run in of_it.values())])
    return table


def _backups(
    runs: Mapping[tuple[Migrator | None, int], Sequence[Run]], on: Migrator, off: Migrator
) -> list[list[str]]:
    with_backup, without, copies = _by_who(runs, on), _by_who(runs, off), _by_who(runs, None)
    added = {
        rows: [one - statistics.median(without[rows]) for one in of_it]
        for rows, of_it in with_backup.items()
        if rows  # an empty file is not backed up
    }
    return [
        ["shortsdb: backup on, less backup off", *map(milliseconds, added.values())],
        [
            "limit: `cp` and `sync` of the same file",
            *(milliseconds(copies[rows]) for rows in added),
        ],
        ["ratio", *(ratio(added[rows], copies[rows]) for rows in added)],
    ]


def _stalled(stalls: Mapping[tuple[Migrator | None, int], Sequence[Stall]]) -> list[list[str]]:
    table = []
    for who in dict.fromkeys(who for who, _ in stalls):
        cells = []
        for (other, _), of_it in stalls.items():
            if other == who:
                errors = sum(stall.errors for stall in of_it)
                cell = milliseconds([stall.longest for stall in of_it])
                cells.append(f"{cell}, {errors} errors" if errors else cell)
        table.append([who.name if who else NOBODY, *cells])
    return table
