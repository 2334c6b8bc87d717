"""A revision that rebuilds a table of many rows, and the deploy of eight programs at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import migrators
from measure import (
    PROGRAMS,
    ROOT,
    Run,
    Scale,
    Table,
    in_turn,
    median_of,
    milliseconds,
    progress,
    ratio,
)
from migrators import DATABASE, Migrator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TITLE = "A rebuild, and deploys at once"
AT_ONCE = 8

HOW = """\
SQLite can alter little of a table in place, so all three make another one and copy the rows:
Alembic by its batch mode, which shortsdb's revisions use too, and Django by its own. The column
`niche` of `discovered_videos` gets another type, and the rows stay as they are.
No backup is made."""
WHY = """\
Where the time of shortsdb goes: before it commits, it compares each row of the new table with the
old one, value by value with its type, so that a revision which loses, doubles or changes rows is
refused; and it checks the foreign keys of what was rebuilt. The others compare nothing; Django
checks the foreign keys of the whole file. Where the memory goes: the changed pages stay in SQLite's
cache until the COMMIT, because writing them to the file earlier would lock readers out."""
HOW_AT_ONCE = f"""\
{AT_ONCE} programs are started at once on one deployed file, as when a deployment starts {AT_ONCE}
containers; each waits for a lock as long as it does by default."""

_REVISION = '''\
"""Rebuild discovered_videos."""

import sqlalchemy as sa

from alembic import op

revision = "{revision}"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("discovered_videos") as batch:
        batch.alter_column("niche", type_=sa.String(200))


def downgrade() -> None:
    with op.batch_alter_table("discovered_videos") as batch:
        batch.alter_column("niche", type_=sa.String())
'''


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure both, below an empty folder."""
    # Six of ten rows are in the table that is rebuilt.
    rows = min(1_000_000, max(scale.deployed_rows))
    in_file = -(-rows * 10 // 6)
    progress(f"{TITLE}: files of {in_file:,} rows at head")
    everybody = _rebuilders(folder)
    places = {who: folder / f"rebuilt {number}" for number, who in enumerate(everybody)}
    for who, place in places.items():
        migrators.make_deployed(place, in_file)
        who.prepare(place)
        who.upgrade(place)
        (place / DATABASE).rename(place / "at_head.db")
    _add_revision(folder)
    progress(f"{TITLE}: rebuilds")
    rebuilt = in_turn(
        scale.file_rounds, {who: partial(_rebuild, who, places[who]) for who in everybody}
    )
    ours = [run.seconds for run in rebuilt[everybody[0]]]
    return [
        Table(
            f"A table of {rows:,} rows is rebuilt, in a file of {in_file:,}",
            ["", "wall, ms", "of shortsdb", "CPU, ms", "peak memory, MiB"],
            [
                [
                    who.name,
                    milliseconds([run.seconds for run in of_it]),
                    ratio([run.seconds for run in of_it], ours),
                    milliseconds([run.cpu_seconds for run in of_it]),
                    f"{median_of(of_it, 'peak_mib'):.0f}",
                ]
                for who, of_it in rebuilt.items()
            ],
            [HOW, WHY],
        ),
        _at_once(scale, folder),
    ]


def _rebuilders(folder: Path) -> list[Migrator]:
    """Return who can rebuild, each with revisions of its own below `folder`."""
    for part in ("alembic.ini", "alembic"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    stock, django, *_ = migrators.peers(folder)
    ours = Migrator(
        "shortsdb: `alembic upgrade head`, backup off",
        (PROGRAMS / "alembic", "-c", folder / "alembic.ini", "upgrade", "head"),
        {"SHORTSDB_URL": f"sqlite:///{DATABASE}", "SHORTSDB_BACKUP": "off"},
    )
    return [ours, stock, django]


def _add_revision(folder: Path) -> None:
    head = max(path.name for path in (ROOT / "alembic" / "versions").glob("0*.py"))[:4]
    revision = f"{int(head) + 1:04}"
    for versions in (folder / "alembic" / "versions", folder / "stock" / "alembic" / "versions"):
        script = _REVISION.format(revision=revision, head=head)
        (versions / f"{revision}_rebuild.py").write_text(script, encoding="utf-8")
    project = folder / "django"
    migrators.replace(
        project / "deployed_tables" / "models.py",
        "niche = models.CharField()\n    discovery_source",
        "niche = models.CharField(max_length=200)\n    discovery_source",
    )
    command = (sys.executable, project / "manage.py", "makemigrations", "deployed_tables")
    subprocess.run(command, cwd=project, check=True, capture_output=True)  # noqa: S603 - ours


def _rebuild(who: Migrator, place: Path) -> Run:
    shutil.copy(place / "at_head.db", place / DATABASE)
    run = who.upgrade(place)
    migrators.check(place)
    return run


def _at_once(scale: Scale, folder: Path) -> Table:
    progress(f"{TITLE}: {AT_ONCE} at once")
    below = folder / "together"  # the sqlite3 program takes no space in a name
    below.mkdir()
    everybody = [migrators.shortsdb(backup=True), *migrators.peers(below)[:-1]]
    places = {who: below / str(number) for number, who in enumerate(everybody)}
    for place in places.values():
        migrators.make_deployed(place, 10_000)
    outcomes = in_turn(
        scale.file_rounds, {who: partial(_start_all, who, places[who]) for who in everybody}
    )
    return Table(
        f"{AT_ONCE} deploys of one file at once",
        ["", "until the last has ended, ms", "failed, in each round", "all tables are there"],
        [_cells(who, of_it) for who, of_it in outcomes.items()],
        [HOW_AT_ONCE],
    )


def _cells(who: Migrator, outcomes: Sequence[tuple[float, int, bool]]) -> list[str]:
    times, failed, whole = zip(*outcomes, strict=True)
    rounds = f"in {sum(whole)} of {len(whole)} rounds"
    return [who.name, milliseconds(times), ", ".join(map(str, failed)), rounds]


def _start_all(who: Migrator, place: Path) -> tuple[float, int, bool]:
    migrators.undo(place)
    who.prepare(place)
    began = time.perf_counter()
    with ExitStack() as stack:
        programs = [
            stack.enter_context(
                subprocess.Popen(  # noqa: S603 - programs that are named in this folder
                    list(map(str, who.command)),
                    cwd=place,
                    env={**os.environ, **who.environment},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            for _ in range(AT_ONCE)
        ]
        failed = sum(program.wait() != 0 for program in programs)
    took = time.perf_counter() - began
    return took, failed, not migrators.missing(place)
