"""The deploy: a deployed file brought to ten tables, and the same command again at head."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import migrators
from measure import Run, Scale, Table, in_turn, median_of, milliseconds, progress, ratio
from migrators import Migrator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TITLE = "The deploy"
ROWS = 10_000

WHY = """\
Why Django and yoyo-migrations take less: most of an upgrade is the import of SQLAlchemy and
Alembic, its DDL for all other databases included, which they do not need; that is what
`alembic current` takes on an empty project. A stock env.py also imports the models, which shortsdb
does only to compare with them. `shortsdb upgrade` sees that a file is at head without any of these
imports."""


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure all, below an empty folder."""
    limit = migrators.empty_project(folder)
    everybody = [
        migrators.shortsdb(backup=False),
        migrators.shortsdb(backup=True),
        migrators.shortsdb(backup=False, program="shortsdb"),
        migrators.shortsdb(backup=True, program="shortsdb"),
        *migrators.peers(folder),
    ]
    places = {who: folder / str(number) for number, who in enumerate([*everybody, limit])}
    for who, place in places.items():
        migrators.make_deployed(place, ROWS)
        who.prepare(place)

    if scale.rounds > 1:
        migrators.warm_up(everybody, places[everybody[0]])
    progress(f"{TITLE}: upgrades")
    works = {who: partial(_upgrade, who, places[who]) for who in everybody}
    works[limit] = partial(limit.upgrade, places[limit])
    upgrades = in_turn(scale.rounds, works)
    progress(f"{TITLE}: at head already")
    again = {who: partial(who.upgrade, places[who]) for who in [*everybody[:-1], limit]}
    at_head = in_turn(scale.rounds, again)
    columns = ["", "wall, ms", "of shortsdb", "CPU, ms", "peak memory, MiB"]
    return [
        Table(
            f"To ten tables, from a deployed file of {ROWS:,} rows",
            columns,
            _rows(upgrades, everybody[0]),
            [migrators.PEERS, WHY],
        ),
        Table(
            "At head already: nothing to do",
            columns,
            [
                *_rows(at_head, everybody[0]),
                [everybody[-1].name, "cannot tell what was done already", "", "", ""],
            ],
        ),
    ]


def _upgrade(who: Migrator, place: Path) -> Run:
    """Upgrade, after having undone what the round before did."""
    migrators.undo(place)
    who.prepare(place)
    run = who.upgrade(place)
    migrators.check(place)
    return run


def _rows(runs: Mapping[Migrator, Sequence[Run]], ours: Migrator) -> list[list[str]]:
    walls = {who: [run.seconds for run in of_it] for who, of_it in runs.items()}
    return [
        [
            who.name,
            milliseconds(walls[who]),
            ratio(walls[who], walls[ours]),
            milliseconds([run.cpu_seconds for run in of_it]),
            f"{median_of(of_it, 'peak_mib'):.0f}",
        ]
        for who, of_it in runs.items()
    ]
