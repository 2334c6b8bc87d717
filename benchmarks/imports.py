"""Imports: what a program waits for before it can use its models."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from measure import HERE, Scale, Table, in_turn, median_of, milliseconds, ratio, run_program

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "Imports"

PROGRAMS = {
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

HOW = """\
Whole processes of Python, its own start included. Only shortsdb and Django have ten models then.
Peewee also imports the drivers of other databases that are installed, which psycopg is here."""
WHY = """\
Why Django and Peewee take less: shortsdb's models need `sqlalchemy.orm`, which is most of their
import; the rest is SQLAlchemy's mapping of ten classes."""


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure all, in an empty folder."""
    works = {
        name: partial(
            run_program,
            *(sys.executable, "-c", program),
            cwd=folder,
            PYTHONPATH=str(HERE / "django_project"),
        )
        for name, program in PROGRAMS.items()
    }
    for work in works.values():  # once before, so that all is compiled
        work()
    runs = in_turn(scale.rounds, works)
    walls = {name: [run.seconds for run in of_it] for name, of_it in runs.items()}
    ours = next(iter(walls.values()))
    rows = [
        [
            name,
            milliseconds(walls[name]),
            ratio(walls[name], ours),
            f"{median_of(of_it, 'peak_mib'):.0f}",
        ]
        for name, of_it in runs.items()
    ]
    columns = ["", "wall, ms", "of shortsdb", "peak memory, MiB"]
    return [Table("To the first use of a model", columns, rows, [HOW, WHY])]
