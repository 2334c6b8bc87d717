"""A file at head and what is in it: a counter, a run with everything under it, and snapshots."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from peers import COUNTER, RUN_ID

from shortsdb.migration.baselines import BASELINES
from shortsdb.sqlite.schema import schema_of_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VIDEOS = 1_000
_START = datetime(2026, 1, 1)  # noqa: DTZ001 - the models hold naive UTC
_MOMENT = "2026-03-04 05:06:07.000890"
_CLIPS = 10


def snapshots(first: int, count: int) -> Iterator[dict[str, Any]]:
    """Make so many snapshots, of all videos in turn; `first` is the number of the first one."""
    for number in range(first, first + count):
        yield {
            "youtube_video_id": video(number % VIDEOS),
            "measured_at": _START + timedelta(seconds=number, microseconds=number % 10**6),
            "view_count": number,
            "like_count": number // 20,
            "comment_count": 3,
            "average_view_duration_seconds": 31.5,
            "click_through_rate": 0.05,
            "subscriber_gain": 1,
            "estimated_revenue_usd": 0.25,
        }


def video(number: int) -> str:
    """Return the id of one of the videos."""
    return f"video{number:05}"


def make(path: Path) -> None:
    """Make a file at head with a counter and a run, and no snapshots."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(BASELINES[max(BASELINES)])
        connection.execute(
            "INSERT INTO config_overrides (key, value, updated_at) VALUES (?, '0', ?)",
            (COUNTER, _MOMENT),
        )
        connection.execute(
            "INSERT INTO pipeline_runs (id, niche, cycle_start, cycle_end, status, retry_count)"
            " VALUES (?, 'cats', ?, ?, 'uploaded', 0)",
            (RUN_ID, _MOMENT, _MOMENT),
        )
        for number in range(1, _CLIPS + 1):
            connection.execute(
                "INSERT INTO discovered_videos (id, video_id, title, channel_name, channel_id, url,"
                " niche, discovered_at, processed, content_id_risk)"
                " VALUES (?, ?, 'title', 'channel', 'UC', 'url', 'cats', ?, 1, 'low')",
                (number, f"found{number}", _MOMENT),
            )
            connection.execute(
                "INSERT INTO clips VALUES (?, ?, ?, ?, 1.5, 9.25, 7.75, 'scene', 'file', 'low')",
                (number, RUN_ID, number, number),
            )
        for number in (1, 2, 3):
            for table, row in {
                "scripts": (number, RUN_ID, "o", "c", "[]", 100, 60.0, "llm", _MOMENT),
                "tts_audio": (number, RUN_ID, "engine", "voice", "file", 60.0, _MOMENT),
                "shorts": (number, RUN_ID, number, "file", 60.0, *"tdyu", "uploaded", _MOMENT),
                "review_logs": (number, RUN_ID, _MOMENT, _MOMENT, "approve", "", 0),
                "error_logs": (number, RUN_ID, "module", "type", "message", None, _MOMENT, 1),
            }.items():
                # Later revisions may have added columns.
                columns = ", ".join(schema_of_script(BASELINES["0008"])[table].columns)
                places = ", ".join("?" * len(row))
                insert = f"INSERT INTO {table} ({columns}) VALUES ({places})"  # noqa: S608 - ours
                connection.execute(insert, row)


def add_snapshots(path: Path, first: int, count: int) -> None:
    """Insert snapshots as fast as it goes, without any durability."""
    names = list(next(snapshots(0, 1)))
    places = ", ".join("?" * len(names))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        connection.executemany(
            f"INSERT INTO analytics ({', '.join(names)}) VALUES ({places})",  # noqa: S608 - ours
            (
                (
                    row["youtube_video_id"],
                    row["measured_at"].isoformat(" ", "microseconds"),
                    *list(row.values())[2:],
                )
                for row in snapshots(first, count)
            ),
        )


def counted(path: Path | str) -> int:
    """Return the sum of all counters as they are committed."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT sum(CAST(value AS INTEGER)) FROM config_overrides")
        return int(row.fetchone()[0])


def size(path: Path) -> int:
    """Return the size of the file in bytes, once nothing is left in its write-ahead log."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def remove(path: Path) -> None:
    """Delete the file, and what SQLite has left beside it."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
