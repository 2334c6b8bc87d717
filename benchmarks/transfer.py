"""Measures `shortsdb copy` to a real PostgreSQL beside the COPY of psql, of the same rows.

`python benchmarks/transfer.py --rows 1000000`; it starts a server of its own. psql reads files that
lie ready and checks nothing; a copy reads SQLite, looks for what is invalid, and reads all back.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alembic.command import upgrade

from shortsdb.migration.revisions import alembic_config
from shortsdb.models import metadata

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

import legacy_database
from postgresql_server import Database, Server

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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="shortsdb copy beside psql.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--memory-only", action="store_true", help="no psql, one copy")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Server() as server:
        folder = Path(name)
        source = legacy_database.make(folder / "deployed.db", arguments.rows)
        first = server.create_database()
        ours = [copied(source, first)]
        if arguments.memory_only:
            took = f"{ours[0][0]:.1f} s"
        else:
            script = export(first, folder)
            theirs = []
            for _ in range(arguments.times):
                theirs.append(by_psql(script, server.create_database()))
                ours.append(copied(source, server.create_database()))
            copy = statistics.median(seconds for seconds, _ in ours)
            peer = statistics.median(theirs)
            took = (
                f"{copy:.2f} s, psql \\copy {peer:.2f} s, {peer / copy:.2f} of its speed "
                "(wanted: from 0.5)"
            )
        peak = max(memory for _, memory in ours)
        print(f"copy of {arguments.rows:,} rows: {took}; peak memory {peak:.0f} MiB")  # noqa: T201 - the result


if __name__ == "__main__":
    main()
