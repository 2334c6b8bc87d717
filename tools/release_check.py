"""Checks that a release can be built, installed and used: `make release-check`.

Builds the source archive and, from it, the wheel, checks both with twine, installs the wheel into a
clean virtual environment, and there upgrades, checks and downgrades a deployed file with rows.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import venv
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEPLOYED_SCHEMA = ROOT / "tests" / "assets" / "deployed_schema.sql"

# Rows as deployed code wrote them: non-ASCII text, NULL, more than 32 bits, whole seconds.
_ROWS = """
INSERT INTO discovered_videos VALUES
    (1, 'vid1', '猫が歌う', 'Kanal Ünal', 'UC1', 'https://youtu.be/vid1', 22, 31, 5000000000, NULL,
     7, 1.5, 88.25, 'cooking', 'trending', '2026-01-02 03:04:05.678901', 1, 'low'),
    (2, 'vid2', 'It''s; DROP TABLE clips --', '', 'UC2', 'https://youtu.be/vid2', NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, 'кошки', NULL, '2026-01-02 03:04:05', 0, 'unknown');
INSERT INTO pipeline_runs VALUES
    (1, 'cooking', '2026-01-02 00:00:00', '2026-01-02 06:00:00', 'uploaded', NULL, NULL,
     '/videos/1.mp4', 61.5, 5368709120, 'yt1', 'https://youtu.be/yt1', NULL, 0);
INSERT INTO clips VALUES (1, 1, 1, 1, 1.5, 9.25, 7.75, 'scene', NULL, 'low');
"""


class ReleaseError(Exception):
    """The release does not do what it should."""


def main() -> None:
    """Run all checks in a temporary folder; raise on the first that fails."""
    with tempfile.TemporaryDirectory(prefix="release-check-") as temporary:
        folder = Path(temporary)
        wheel = build(folder / "dist")
        programs = install(wheel, folder / "venv")
        upgrade_and_downgrade(programs, folder)
    print(f"{wheel.name} installs, upgrades a deployed file and downgrades it again")  # noqa: T201 - the result


def build(folder: Path) -> Path:
    """Build both archives into a new folder, check them with twine, and return the wheel.

    Raises:
        ReleaseError: If an archive cannot be built, or twine finds fault with it.
    """
    run([sys.executable, "-m", "build", "--outdir", folder, ROOT], cwd=folder.parent)
    check_archives(folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_archives(folder: Path) -> None:
    """Check the archives in a folder with twine, as the package index would.

    Raises:
        ReleaseError: If twine finds fault with one; a warning is a fault.
    """
    archives = sorted(folder.iterdir())
    run([sys.executable, "-m", "twine", "check", "--strict", *archives], cwd=folder)


def install(wheel: Path, folder: Path, *requirements: str) -> Path:
    """Install a wheel into a new virtual environment, and return the folder of its programs.

    Args:
        wheel: What to install.
        folder: Where to create the environment.
        requirements: What to install beside it, such as "sqlalchemy==2.0.47".

    Raises:
        ReleaseError: If pip fails.
    """
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    pip: list[str | Path] = [programs / "python", "-m", "pip", "install", "--quiet", "--no-input"]
    run([*pip, wheel, *requirements], cwd=folder)
    return programs


def upgrade_and_downgrade(programs: Path, folder: Path) -> None:
    """Upgrade, check and downgrade a deployed file with the programs of an installed release.

    Args:
        programs: The folder that contains the `shortsdb` program.
        folder: Where to create the file, outside of the checkout.

    Raises:
        ReleaseError: If a command fails, or the file has the wrong schema or rows afterwards.
    """
    file = folder / "release.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(DEPLOYED_SCHEMA.read_text(encoding="utf-8") + _ROWS)
    before = _content(file)
    shortsdb = programs / "shortsdb"

    run([shortsdb, "upgrade", "--url", file], cwd=folder)
    upgraded = _content(file)
    if upgraded == before or not upgraded.items() >= before.items():
        raise ReleaseError(f"after the upgrade, {file.name} holds {upgraded}, not also {before}")
    run([shortsdb, "check", "--url", file], cwd=folder)
    run([shortsdb, "downgrade", "0001", "--yes", "--url", file], cwd=folder)
    downgraded = _content(file)
    if downgraded != before:
        raise ReleaseError(f"after the downgrade, {file.name} holds {downgraded}, not {before}")


def run(command: list[str | Path], cwd: Path) -> str:
    """Run a program without the settings of this process, and return its standard output.

    Raises:
        ReleaseError: If it fails, with all that it printed.
    """
    ours = ("PYTHON", "SHORTSDB_", "ALEMBIC_")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ReleaseError(
            f"{' '.join(map(str, command))} exited with {done.returncode}:\n"
            f"{done.stdout}{done.stderr}"
        )
    return done.stdout


def _content(file: Path) -> dict[str, tuple[str, str]]:
    """Return the DDL and the rows of each table, without the table of the revision."""
    with closing(sqlite3.connect(file)) as connection:
        tables = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
            " AND name NOT IN ('alembic_version', 'shortsdb_history', 'sqlite_sequence')"
        ).fetchall()
        return {
            name: (ddl, str(connection.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall()))
            for name, ddl in tables
        }


if __name__ == "__main__":
    try:
        main()
    except ReleaseError as error:
        sys.exit(f"release check failed: {error}")
