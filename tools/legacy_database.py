"""Makes a database as it is deployed: three tables, no version, rows of every awkward kind.

Run it to get one to try things on: `python tools/legacy_database.py deployed.db --rows 100000`.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

SCHEMA = (Path(__file__).parents[1] / "tests" / "assets" / "deployed_schema.sql").read_text(
    encoding="utf-8"
)

_NICHES = ("cooking", "кошки", "地震", "fails 🤦")
_TITLES = (
    "You won't believe it",
    "猫が歌う",
    "It's; DROP TABLE clips --",
    "",
    "tab\tnew\nline",
    "é" * 300,
)
T = TypeVar("T")

_START = datetime(2026, 1, 1)  # noqa: DTZ001 - deployed code stores naive UTC


def _moment(rng: random.Random) -> str:
    """Return a timestamp as deployed code stores it: most with microseconds, some without."""
    moment = _START + timedelta(seconds=rng.randrange(10**7), microseconds=rng.randrange(10**6))
    if rng.random() < 0.1:
        return moment.strftime("%Y-%m-%d %H:%M:%S")  # CURRENT_TIMESTAMP, by raw SQL
    return moment.isoformat(" ", "microseconds")


def fill(connection: sqlite3.Connection, rows: int, seed: int = 1) -> None:
    """Insert about `rows` rows into the three tables, the same ones for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret

    def maybe(value: T) -> T | None:
        return value if rng.random() < 0.8 else None

    videos = max(rows * 6 // 10, 3)
    runs = max(rows // 10, 2)
    clips = max(rows - videos - runs, 3)
    connection.executemany(
        f"INSERT INTO discovered_videos VALUES ({', '.join('?' * 18)})",
        (
            (
                number,
                f"vid{number:08}",
                rng.choice(_TITLES),
                "Kanal Ünal",
                f"UC{number % 97}",
                f"https://youtu.be/vid{number:08}",
                maybe(rng.randrange(50)),
                maybe(rng.randrange(60)),
                maybe(rng.choice((0, 12_345, 2**31, 2**63 - 1))),
                maybe(rng.randrange(10**6)),
                maybe(rng.randrange(10**4)),
                maybe(rng.choice((0.0, 1e-300, 3.14, float("inf")))),
                maybe(rng.random() * 100),
                rng.choice(_NICHES),
                maybe("trending"),
                _moment(rng),
                rng.randrange(4),
                rng.choice(("low", "medium", "high", "unknown")),
            )
            for number in range(1, videos + 1)
        ),
    )
    connection.executemany(
        f"INSERT INTO pipeline_runs VALUES ({', '.join('?' * 14)})",
        (
            (
                number,
                rng.choice(_NICHES),
                _moment(rng),
                _moment(rng),
                rng.choice(("pending", "running", "review", "approved", "uploaded", "failed")),
                maybe(_moment(rng)),
                maybe(_moment(rng)),
                maybe(f"/videos/{number}.mp4"),
                maybe(rng.random() * 600),
                maybe(rng.choice((2**31 + 7, 5 * 2**30))),
                maybe(f"yt{number}"),
                maybe(f"https://youtu.be/yt{number}"),
                maybe("Traceback:\n  Fehler – ünerwartet"),
                rng.randrange(4),
            )
            for number in range(1, runs + 1)
        ),
    )
    connection.executemany(
        f"INSERT INTO clips VALUES ({', '.join('?' * 10)})",
        (
            (
                number,
                rng.randrange(runs) + 1,
                rng.randrange(videos) + 1,
                number % 10 + 1,
                1.5,
                float("inf") if number == 1 else 9.25,
                7.75,
                maybe("scene"),
                maybe(f"/clips/{number}.mp4"),
                rng.choice(("low", "medium", "high", "unknown")),
            )
            for number in range(1, clips + 1)
        ),
    )


def make(path: Path, rows: int = 60) -> Path:
    """Create the file `path` with about `rows` rows and return it."""
    connection = sqlite3.connect(path)
    with connection:
        connection.executescript(SCHEMA)
        fill(connection, rows)
    connection.close()
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a database as it is deployed.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=60)
    arguments = parser.parse_args()
    if arguments.path.exists():
        parser.error(f"{arguments.path} exists already")
    make(arguments.path, arguments.rows)
