"""Measures `shortsdb copy` to a real PostgreSQL beside pgloader and the COPY of psql, same rows.

`python benchmarks/transfer.py --rows 1000000`; it starts a server of its own. psql reads files that
lie ready and checks nothing. pgloader, from Debian's package, reads the SQLite file, makes tables
of its own and compares nothing. A copy reads the file, upgrades a copy of it, looks for what is
invalid, and reads all back.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from alembic.command import upgrade

from shortsdb.migration.revisions import alembic_config
from shortsdb.models import metadata

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

import legacy_database
from postgresql_server import Database, Server

_PATIENCE = 300

_DEPLOYED = ("discovered_videos", "pipeline_runs", "clips")

# Prints its peak memory in MiB.
_COPY = """
import resource, sys
from shortsdb.transfer import copy
copy(*sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def copied(source: Path, target: Database) -> tuple[float, float]:
    """Copy in a process of its own; return the seconds that it takes and its peak memory in MiB."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", _COPY, str(source), target.url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    return time.perf_counter() - begun, float(done.stdout)


def export(source: Database, folder: Path) -> str:
    """Write every table to a file, and return the script with which psql reads them."""
    for table in metadata.sorted_tables:
        source.psql(f"\\copy {table.name} to {folder / table.name}")
    lines = [f"\\copy {table.name} from {folder / table.name}" for table in metadata.sorted_tables]
    return "\n".join(["BEGIN;", *lines, "COMMIT;"])


def by_psql(script: str, target: Database) -> float:
    """Return how many seconds psql takes for the same rows, into the same schema."""
    upgrade(alembic_config(target.url), "head")
    begun = time.perf_counter()
    target.psql(script)
    return time.perf_counter() - begun


def by_pgloader(source: Path, target: Database) -> tuple[float, int, str]:
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


def clean(source: Path) -> Path:
    """Return a copy of a deployed file without the values at which pgloader gives a table up."""
    path = source.with_name("clean.db")
    path.write_bytes(source.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE discovered_videos SET view_count = 1 WHERE view_count > 1 << 61")
        connection.execute("UPDATE discovered_videos SET view_velocity = 1 WHERE view_velocity > 9")
        connection.execute("UPDATE clips SET end_time_seconds = 1 WHERE end_time_seconds > 1e300")
    return path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="shortsdb copy beside psql.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--memory-only", action="store_true", help="no psql, one copy")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Server() as server:
        folder = Path(name)
        deployed = legacy_database.make(folder / "deployed.db", arguments.rows)
        source = clean(deployed)
        first = server.create_database()
        ours = [copied(source, first)]
        if arguments.memory_only:
            took = f"{ours[0][0]:.1f} s"
        else:
            script = export(first, folder)
            theirs, loaded = [], []
            for _ in range(arguments.times):
                theirs.append(by_psql(script, server.create_database()))
                loaded.append(by_pgloader(source, server.create_database()))
                ours.append(copied(source, server.create_database()))
            copy = statistics.median(seconds for seconds, _ in ours)
            peer = statistics.median(theirs)
            pgloader = statistics.median(seconds for seconds, _, _ in loaded)
            _, lost, end = by_pgloader(deployed, server.create_database())
            took = (
                f"{copy:.2f} s, psql \\copy {peer:.2f} s, {peer / copy:.2f} of its speed "
                f"(wanted: from 0.5), pgloader {pgloader:.2f} s ({loaded[0][1]:,} rows; of the "
                f"file as it is deployed {lost:,} rows, {end})"
            )
        peak = max(memory for _, memory in ours)
        print(f"copy of {arguments.rows:,} rows: {took}; peak memory {peak:.0f} MiB")  # noqa: T201 - the result


if __name__ == "__main__":
    main()
