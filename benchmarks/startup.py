"""Start-up: what commands take that have little to do, and what importing the models takes."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING

import migrators
from measure import (
    HERE,
    PROGRAMS,
    Run,
    Scale,
    Table,
    in_turn,
    median_of,
    milliseconds,
    ratio,
    run_program,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

TITLE = "Start-up"
ROWS = 10_000

IMPORTS = {
    "shortsdb: `import shortsdb.models`": "import shortsdb.models",
    "limit: `import sqlalchemy.orm`": "import sqlalchemy.orm",
    "Django: `django.setup()` with the same ten models": (
        "import django, os; os.environ['DJANGO_SETTINGS_MODULE'] = 'project_settings';"
        " django.setup()"
    ),
    "Peewee: `import peewee`": "import peewee",
    "SQLModel: `import sqlmodel`": "import sqlmodel",
    "Python: nothing": "pass",
}

OPTIONS = {"restore": ("--latest", "--yes")}

OF_COMMANDS = f"""\
On a file at the newest revision with {ROWS:,} rows. Each program migrated a copy of the same
deployed file before. `shortsdb` reads a SQLite file without SQLAlchemy and Alembic, whose import is
most of what `alembic current` takes."""
OF_IMPORTS = """\
Whole processes of Python, its own start included. Only shortsdb and Django have ten models then.
Peewee also imports the drivers of other databases that are installed, which psycopg is here.

Why Django and Peewee take less: shortsdb's models need `sqlalchemy.orm`, which is most of their
import; the rest is SQLAlchemy's mapping of ten classes."""


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure all, in an empty folder."""
    imports = {
        name: partial(
            run_program,
            *(sys.executable, "-c", program),
            cwd=folder,
            PYTHONPATH=str(HERE / "django_project"),
        )
        for name, program in IMPORTS.items()
    }
    return [
        _table("Commands with little to do", scale, _commands(folder), OF_COMMANDS),
        _table("To the first use of a model", scale, imports, OF_IMPORTS),
    ]


def _commands(folder: Path) -> dict[str, Callable[[], Run]]:
    """Migrate a file with each program, and return their commands that read or copy it."""
    ours = migrators.shortsdb(backup=False, program="shortsdb")
    stock, django, yoyo, dbmate, _ = migrators.peers(folder)
    places = {
        who: folder / f"at head {number}"
        for number, who in enumerate([ours, stock, django, dbmate])
    }
    for who, place in places.items():
        migrators.make_deployed(place, ROWS)
        who.prepare(place)
        who.upgrade(place)
    works: dict[str, Callable[[], Run]] = {
        f"shortsdb: `{command}`": partial(
            run_program,
            *(PROGRAMS / "shortsdb", command, *OPTIONS.get(command, ())),
            cwd=places[ours],
            SHORTSDB_URL=migrators.DATABASE,
        )
        for command in ("status", "health", "upgrade", "plan", "backup", "restore")
    }
    works |= {
        f"Django: `{command}`": partial(
            run_program, *(*django.command[:2], command), cwd=places[django]
        )
        for command in ("showmigrations", "check")
    }
    ini = stock.command[2]
    works["Alembic: `current`, stock env.py"] = partial(
        run_program, *(PROGRAMS / "alembic", "-c", ini, "current"), cwd=places[stock]
    )
    listing = ("list", *yoyo.command[2:])
    works["yoyo-migrations: `list`"] = partial(
        run_program, PROGRAMS / "yoyo", *listing, cwd=places[stock]
    )
    works["dbmate: `status`, compiled"] = partial(
        run_program, *dbmate.command[:-1], "status", cwd=places[dbmate]
    )
    select = "SELECT version_num FROM alembic_version"
    works["limit: Python's sqlite3, the version"] = partial(
        run_program,
        *(sys.executable, "-I", "-S", "-c"),
        f"import sqlite3; sqlite3.connect({migrators.DATABASE!r}).execute({select!r}).fetchall()",
        cwd=places[ours],
    )
    if program := shutil.which("sqlite3"):
        works["limit: the sqlite3 program, the version"] = partial(
            run_program, program, migrators.DATABASE, select, cwd=places[ours]
        )
    return works


def _table(title: str, scale: Scale, works: Mapping[str, Callable[[], Run]], note: str) -> Table:
    for work in works.values():  # once before, so that all is compiled
        work()
    runs = in_turn(scale.rounds, works)
    first = [run.seconds for run in next(iter(runs.values()))]
    rows = [
        [
            name,
            milliseconds([run.seconds for run in of_it]),
            ratio([run.seconds for run in of_it], first),
            f"{median_of(of_it, 'peak_mib'):.0f}",
        ]
        for name, of_it in runs.items()
    ]
    columns = ["", "wall, ms", "of the first", "peak memory, MiB"]
    return Table(title, columns, rows, [note])
