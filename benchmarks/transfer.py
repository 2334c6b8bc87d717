"""A copy to PostgreSQL, beside pgloader and psql's COPY of the same rows."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import legacy_database
from alembic.command import upgrade
from measure import Scale, Table, in_turn, progress, ratio, spread
from postgresql_server import Database, Server

from shortsdb.migration.revisions import alembic_config
from shortsdb.models import metadata

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "Copy to PostgreSQL"
MOST_ROWS = 1_000_000

HOW = """\
Copies of the same deployed file, without the values at which pgloader gives up a table. psql reads
text files that lie ready, into tables that are there, and checks nothing. pgloader is Debian's: it
makes tables of its own and compares nothing. `shortsdb copy` copies the file first, upgrades the
copy, searches it for values that PostgreSQL cannot hold, and compares what was written, row by
row."""

_PATIENCE = 90
_DEPLOYED = ("discovered_videos", "pipeline_runs", "clips")

# Prints its peak memory in MiB.
_COPY = """
import resource, sys
from shortsdb.transfer import copy
copy(*sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure all, in an empty folder."""
    rows = min(MOST_ROWS, max(scale.deployed_rows))
    with Server() as server:
        progress(f"{TITLE}: {rows:,} rows")
        deployed = legacy_database.make(folder / "deployed.db", rows)
        source = _clean(deployed)
        first = server.create_database()
        peak = _copied(source, first)[1]
        script = _export(first, folder)
        works = {
            "shortsdb: `shortsdb copy`": lambda: _copied(source, server.create_database())[0],
            "limit: psql's `\\copy`": lambda: _by_psql(script, server.create_database()),
        }
        notes = [HOW, f"Peak memory of `shortsdb copy`: {peak:.0f} MiB."]
        if shutil.which("pgloader"):
            works["pgloader"] = lambda: _by_pgloader(source, server.create_database())[0]
            loaded, end = _by_pgloader(deployed, server.create_database())[1:]
            notes.append(
                f"Of the file with those values pgloader loaded {loaded:,} of {rows:,} rows: {end}."
            )
        else:
            notes.append("pgloader is not installed here.")
        taken = in_turn(scale.file_rounds, works)
    ours = next(iter(taken.values()))
    cells = [[name, spread(times, 1), ratio(times, ours)] for name, times in taken.items()]
    return [Table(f"{rows:,} rows, seconds", ["", "seconds", "of shortsdb"], cells, notes)]


def _copied(source: Path, target: Database) -> tuple[float, float]:
    """Copy in a process of its own; return the seconds that it takes and its peak memory in MiB."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", _COPY, str(source), target.url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    return time.perf_counter() - begun, float(done.stdout)


def _export(source: Database, folder: Path) -> str:
    """Write every table to a file, and return the script with which psql reads them."""
    for table in metadata.sorted_tables:
        source.psql(f"\\copy {table.name} to {folder / table.name}")
    lines = [f"\\copy {table.name} from {folder / table.name}" for table in metadata.sorted_tables]
    return "\n".join(["BEGIN;", *lines, "COMMIT;"])


def _by_psql(script: str, target: Database) -> float:
    """Return how many seconds psql takes for the same rows, into the same schema."""
    upgrade(alembic_config(target.url), "head")
    begun = time.perf_counter()
    target.psql(script)
    return time.perf_counter() - begun


def _by_pgloader(source: Path, target: Database) -> tuple[float, int, str]:
    """Return how many seconds pgloader takes, how many rows it has loaded, and how it has ended."""
    begun = time.perf_counter()
    server = f"pgsql://shortsdb@unix:{target.server.folder}:5432/{target.name}"
    command = ["pgloader", f"sqlite://{source}", server]
    try:
        done = subprocess.run(  # noqa: S603 - Debian's
            command, check=False, capture_output=True, cwd=source.parent, timeout=_PATIENCE
        )
        end = f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:  # after an error it may wait for itself
        end = f"no end after {_PATIENCE} s"
    seconds = time.perf_counter() - begun
    rows = sum(int(target.psql(f"SELECT count(*) FROM {table}")) for table in _DEPLOYED)  # noqa: S608 - constants
    return seconds, rows, end


def _clean(source: Path) -> Path:
    """Return a copy of a deployed file without the values at which pgloader gives a table up."""
    path = source.with_name("clean.db")
    path.write_bytes(source.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE discovered_videos SET view_count = 1 WHERE view_count > 1 << 61")
        connection.execute("UPDATE discovered_videos SET view_velocity = 1 WHERE view_velocity > 9")
        connection.execute("UPDATE clips SET end_time_seconds = 1 WHERE end_time_seconds > 1e300")
    return path
