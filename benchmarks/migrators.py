"""Whoever can bring a deployed file to ten tables: shortsdb, its peers, and the limits."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import legacy_database
from measure import HERE, PROGRAMS, ROOT, Run, run_program

from shortsdb.migration.baselines import BASELINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Whose database is the file of this name in the folder that a program runs in.
DATABASE = "deployed.db"
NEW_TABLES = [
    "scripts",
    "tts_audio",
    "shorts",
    "analytics",
    "review_logs",
    "config_overrides",
    "error_logs",
]
# Deployed files, which are made once in a run.
_FILES = TemporaryDirectory(prefix="shortsdb-benchmark-")
DEPLOYED_TABLES = ("discovered_videos", "pipeline_runs", "clips")

PEERS = """\
Each peer starts from the same deployed file and ends with the same ten tables. Alembic with the
env.py of `alembic init`, and shortsdb's revisions and models: it does not recognise a deployed
file, so `alembic stamp 0001` was run before, and is not in the figures. Django 5 with
`migrate --fake-initial`, which does recognise it by the tables' names; two applications, the
deployed tables and the new ones, and nothing else installed; its migrations are what
`makemigrations` writes. yoyo-migrations and dbmate, a compiled program, with one SQL file per
table, the new ones only. goose, Atlas and sqldef were looked for too, but no package of PyPI or npm
brings their program with it. The limit is the sqlite3 program with the same DDL in one transaction.
No figure of memory is below that of the small Python process which starts the programs."""


@dataclass(frozen=True)
class Migrator:
    """A program that upgrades, and the name that it has in tables."""

    name: str
    command: tuple[str | Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    stamp: tuple[str | Path, ...] = ()
    """What must be run on a deployed file once before, if anything."""

    def prepare(self, folder: Path) -> None:
        """Make a deployed file one that the program takes; no figure has this in it."""
        if self.stamp:
            run_program(*self.stamp, cwd=folder)

    def upgrade(self, folder: Path) -> Run:
        """Upgrade the file in the folder."""
        return run_program(*self.command, cwd=folder, **self.environment)


def shortsdb(*, backup: bool, program: str = "alembic") -> Migrator:
    """Return shortsdb, by the alembic program or by its own."""
    arguments = ("-c", ROOT / "alembic.ini", "upgrade", "head")
    return Migrator(
        f"shortsdb: `{program} upgrade{' head' * (program == 'alembic')}`, "
        f"backup {'on' if backup else 'off'}",
        (PROGRAMS / program, *(arguments if program == "alembic" else ("upgrade",))),
        {
            "SHORTSDB_URL": f"sqlite:///{DATABASE}",
            "SHORTSDB_BACKUP": "backups" if backup else "off",
        },
    )


def peers(folder: Path) -> list[Migrator]:
    """Set the peers up in a folder, and return them with the limit."""
    return [_stock(folder), _django(folder), _yoyo(folder), _dbmate(folder), _sqlite(folder)]


def empty_project(folder: Path) -> Migrator:
    """Return `alembic current` on a project without revisions: what Alembic takes by itself."""
    return Migrator(
        "limit: `alembic current`, empty project",
        (PROGRAMS / "alembic", "-c", _alembic_project(folder / "empty"), "current"),
    )


def _alembic_project(folder: Path) -> Path:
    """Make a project as `alembic init` does, on DATABASE, and return its ini file."""
    folder.mkdir()
    run_program(PROGRAMS / "alembic", "init", "alembic", cwd=folder)
    ini = folder / "alembic.ini"
    placeholder = "driver://user:pass@localhost/dbname"
    replace(ini, placeholder, f"sqlite:///{DATABASE}")
    return ini


def _stock(folder: Path) -> Migrator:
    ini = _alembic_project(folder / "stock")
    models = "from shortsdb.models import metadata as target_metadata"
    replace(folder / "stock" / "alembic" / "env.py", "target_metadata = None", models)
    versions = folder / "stock" / "alembic" / "versions"
    shutil.rmtree(versions)
    shutil.copytree(ROOT / "alembic" / "versions", versions)
    program = (PROGRAMS / "alembic", "-c", ini)
    return Migrator(
        "Alembic, stock env.py", (*program, "upgrade", "head"), stamp=(*program, "stamp", "0001")
    )


def _django(folder: Path) -> Migrator:
    project = folder / "django"
    shutil.copytree(HERE / "django_project", project)
    program = (sys.executable, project / "manage.py")
    run_program(*program, "makemigrations", "deployed_tables", "new_tables", cwd=project)
    return Migrator("Django", (*program, "migrate", "--fake-initial"))


def _scripts(folder: Path, before: str = "", after: str = "") -> Path:
    """Make a folder with a file of SQL for each new table."""
    folder.mkdir()
    for number, table in enumerate(NEW_TABLES, start=2):
        ddl = "".join(line for line in new_ddl() if _table_of(line) == table)
        (folder / f"{number:04}_{table}.sql").write_text(before + ddl + after, encoding="utf-8")
    return folder


def _dbmate(folder: Path) -> Migrator:
    migrations = _scripts(folder / "dbmate", "-- migrate:up\n", "-- migrate:down\n")
    options = ("--url", f"sqlite:{DATABASE}", "--no-dump-schema", "--migrations-dir", migrations)
    return Migrator("dbmate, compiled", (PROGRAMS / "dbmate", *options, "up"))


def _yoyo(folder: Path) -> Migrator:
    migrations = _scripts(folder / "yoyo")
    options = ("--batch", "--no-config-file", "--database", f"sqlite:///{DATABASE}")
    return Migrator("yoyo-migrations", (PROGRAMS / "yoyo", "apply", *options, migrations))


def _sqlite(folder: Path) -> Migrator:
    """Return the sqlite3 program; where there is none, Python with its sqlite3 module."""
    script = folder / "ddl.sql"
    statements = ["BEGIN IMMEDIATE;\n", *new_ddl(), "COMMIT;\n"]
    script.write_text("".join(statements), encoding="utf-8")
    if program := shutil.which("sqlite3"):
        return Migrator(
            "limit: the sqlite3 program, the same DDL",
            (program, "-batch", "-bail", "-cmd", ".timeout 60000", DATABASE, f".read {script}"),
        )
    code = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], timeout=60);"
        " connection.executescript(open(sys.argv[2]).read())"
    )
    return Migrator(
        "limit: Python's sqlite3 (the program is not installed), the same DDL",
        (sys.executable, "-I", "-S", "-c", code, DATABASE, script),
    )


def replace(file: Path, old: str, new: str) -> None:
    """Replace a text in a file, which must contain it."""
    text = file.read_text(encoding="utf-8")
    if old not in text:
        raise RuntimeError(f"{file} has no {old!r}: this Alembic's template is another one")
    file.write_text(text.replace(old, new), encoding="utf-8")


def new_ddl() -> list[str]:
    """Return the statements that make the new tables and their indexes."""
    statements = BASELINES["0008"].removeprefix(BASELINES["0001"]).split(";\n")
    return [f"{statement};\n" for statement in statements if statement]


def _table_of(statement: str) -> str:
    words = statement.split()
    return words[2] if words[1] == "TABLE" else words[4]


def warm_up(everybody: Iterable[Migrator], folder: Path) -> None:
    """Let everybody upgrade once, so that all modules are compiled."""
    for who in everybody:
        undo(folder)
        who.prepare(folder)
        who.upgrade(folder)
    undo(folder)


def make_deployed(folder: Path, rows: int) -> Path:
    """Make a folder with a deployed file of about so many rows; of none at all for 0."""
    folder.mkdir()
    shutil.copy(_deployed_file(rows), folder / DATABASE)
    return folder / DATABASE


@cache
def _deployed_file(rows: int) -> Path:
    path = Path(_FILES.name) / f"{rows}.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(legacy_database.SCHEMA)
        # Else millions of rows, whose index entries come in no order, take long to write.
        connection.execute("PRAGMA cache_size = -500000")
        if rows:
            legacy_database.fill(connection, rows)
    return path


def check(folder: Path) -> None:
    """Make sure that an upgrade did what it is for.

    Raises:
        RuntimeError: A table is missing.
    """
    if not_made := missing(folder):
        raise RuntimeError(f"not made: {', '.join(sorted(not_made))}")


def missing(folder: Path) -> set[str]:
    """Return which of the ten tables are not there."""
    return {*DEPLOYED_TABLES, *NEW_TABLES} - _tables(folder)


def undo(folder: Path) -> None:
    """Make it a deployed file again, whoever has upgraded it."""
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        for table in _tables(folder).difference(DEPLOYED_TABLES):
            connection.execute(f'DROP TABLE "{table}"')
    shutil.rmtree(folder / "backups", ignore_errors=True)


def _tables(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        rows = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        return {name for (name,) in rows}


def forget_rows_of(niche: str, folder: Path) -> None:
    """Delete the runs of a niche."""
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        connection.execute("DELETE FROM pipeline_runs WHERE niche = ?", (niche,))
