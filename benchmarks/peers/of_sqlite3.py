"""The limit: the sqlite3 module with shortsdb's PRAGMAs, SQL by hand, and aiosqlite."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import aiosqlite

from peers import COUNTER, CannotError
from shortsdb.engine import PRAGMAS

if TYPE_CHECKING:
    from collections.abc import Sequence

_READ = "SELECT value FROM config_overrides WHERE key = ?"
_WRITE = "UPDATE config_overrides SET value = ?, updated_at = CURRENT_TIMESTAMP WHERE key = ?"
_LATEST = """
    SELECT view_count FROM analytics WHERE youtube_video_id = ?
    ORDER BY measured_at DESC, id DESC LIMIT 1
"""
_UNDER_A_RUN = (
    "SELECT * FROM pipeline_runs WHERE id = ?",
    """
    SELECT * FROM clips JOIN discovered_videos ON discovered_videos.id = discovered_video_id
    WHERE pipeline_run_id = ?
    """,
    "SELECT * FROM scripts WHERE pipeline_run_id = ?",
    "SELECT * FROM tts_audio WHERE pipeline_run_id = ?",
    """
    SELECT * FROM shorts LEFT JOIN clips ON clips.id = clip_id
    WHERE shorts.pipeline_run_id = ?
    """,
    "SELECT * FROM review_logs WHERE pipeline_run_id = ?",
    "SELECT * FROM error_logs WHERE pipeline_run_id = ?",
)


class Peer:
    """See `peers.Peer`."""

    def __init__(self, path: str) -> None:
        """Connect."""
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        for name, value in PRAGMAS.items():
            self.connection.execute(f"PRAGMA {name} = {value}")
        self.pool: list[aiosqlite.Connection] = []

    def increment(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        (value,) = execute(_READ, (key,)).fetchone()
        time.sleep(think)
        execute(_WRITE, (str(int(value) + 1), key))
        execute("COMMIT")

    async def increment_async(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`; a connection for as many tasks as ask at once."""
        connection = self.pool.pop() if self.pool else await self._connect()
        await connection.execute("BEGIN IMMEDIATE")
        async with connection.execute(_READ, (key,)) as cursor:
            row = await cursor.fetchone()
        assert row is not None  # noqa: S101 - the counter is there
        await asyncio.sleep(think)
        await connection.execute(_WRITE, (str(int(row[0]) + 1), key))
        await connection.execute("COMMIT")
        self.pool.append(connection)

    async def _connect(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self.path, isolation_level=None)
        for name, value in PRAGMAS.items():
            await connection.execute(f"PRAGMA {name} = {value}")
        return connection

    async def close_async(self) -> None:
        """See `peers.Counting`."""
        while self.pool:
            await self.pool.pop().close()

    def insert(self, snapshots: Sequence[dict[str, Any]]) -> None:
        """See `peers.Peer`."""
        names = list(snapshots[0])
        statement = (
            f"INSERT INTO analytics ({', '.join(names)})"  # noqa: S608 - our own columns
            f" VALUES ({', '.join('?' * len(names))})"
        )
        rows = [
            [value if name != "measured_at" else str(value) for name, value in snapshot.items()]
            for snapshot in snapshots
        ]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(statement, rows)
        self.connection.execute("COMMIT")

    def objects(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        del first, last
        raise CannotError("has no objects")

    def rows(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        statement = "SELECT * FROM analytics WHERE id BETWEEN ? AND ?"
        return len(self.connection.execute(statement, (first, last)).fetchall())

    def latest(self, video: str) -> int | None:
        """See `peers.Peer`."""
        (views,) = self.connection.execute(_LATEST, (video,)).fetchone()
        return int(views)

    def latest_of(self, videos: Sequence[str]) -> int:
        """See `peers.Peer`."""
        return sum(self.connection.execute(_LATEST, (video,)).fetchone()[0] for video in videos)

    def whole_run(self, run_id: int) -> int:
        """See `peers.Peer`; as rows."""
        found = [self.connection.execute(sql, (run_id,)).fetchall() for sql in _UNDER_A_RUN]
        return sum(map(len, found)) + len(found[1])  # a clip's row is a video, too
