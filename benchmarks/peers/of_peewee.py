"""Peewee, with the PRAGMAs of its page on SQLite, and models that it reads from the file."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import peewee
from playhouse.pwasyncio import AsyncSqliteDatabase
from playhouse.reflection import generate_models

from peers import COUNTER, UNDER_A_RUN, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

# https://docs.peewee-orm.com/en/latest/peewee/sqlite.html#pragma-statements
PRAGMAS = {"journal_mode": "wal", "cache_size": 10_000, "foreign_keys": 1}
# None for its default, which is DEFERRED.
LOCKING = filter(None, [os.environ.get("BENCHMARK_PEEWEE")])


class Peer:
    """See `peers.Peer`."""

    def __init__(self, path: str) -> None:
        """Connect, and make the models."""
        self.locking = tuple(LOCKING)
        self.database = peewee.SqliteDatabase(path, pragmas=PRAGMAS)
        self.models: dict[str, Any] = generate_models(self.database)
        self.analytics = self.models["analytics"]
        self._open_async()

    def _open_async(self) -> None:
        self.async_database = AsyncSqliteDatabase(self.database.database, pragmas=PRAGMAS)

    def increment(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        override = self.models["config_overrides"]
        with self.database.atomic(*self.locking):
            row = override.get_by_id(key)
            time.sleep(think)
            row.value = str(int(row.value) + 1)
            row.save(only=[override.value])

    async def increment_async(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        override = self.models["config_overrides"]
        async with self.async_database as database, database.atomic(*self.locking):
            bound = override.select().where(override.key == key).bind(database)
            row = await database.get(bound)
            await asyncio.sleep(think)
            new = {override.value: str(int(row.value) + 1)}
            change = override.update(new).where(override.key == key)
            await database.aexecute(change.bind(database))

    async def close_async(self) -> None:
        """See `peers.Counting`."""
        await self.async_database.close_pool()
        self._open_async()  # its pool belongs to one event loop

    def insert(self, snapshots: Sequence[dict[str, Any]]) -> None:
        """See `peers.Peer`; in chunks within SQLite's number of variables, as its page has it."""
        with self.database.atomic():
            for batch in peewee.chunked(snapshots, 1_000):
                self.analytics.insert_many(batch).execute()

    def objects(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        return len(list(self._between(first, last)))

    def rows(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        return len(list(self._between(first, last).tuples()))

    def _between(self, first: int, last: int) -> Any:  # noqa: ANN401 - Peewee has no types
        return self.analytics.select().where(self.analytics.id.between(first, last))

    def latest(self, video: str) -> int | None:
        """See `peers.Peer`."""
        model = self.analytics
        of_video = model.select().where(model.youtube_video_id == video)
        return int(of_video.order_by(model.measured_at.desc(), model.id.desc()).get().view_count)

    def latest_of(self, videos: Sequence[str]) -> int:
        """See `peers.Peer`; by the greatest measured_at of each video, joined back.

        As https://docs.peewee-orm.com/en/latest/peewee/query_library.html has it.
        """
        model = self.analytics
        other = model.alias()
        latest = (
            other.select(other.youtube_video_id, peewee.fn.MAX(other.measured_at).alias("at"))
            .where(other.youtube_video_id.in_(videos))
            .group_by(other.youtube_video_id)
            .alias("latest")
        )
        same = (model.youtube_video_id == latest.c.youtube_video_id) & (
            model.measured_at == latest.c.at
        )
        return sum(snapshot.view_count for snapshot in model.select(model).join(latest, on=same))

    def whole_run(self, run_id: int) -> int:
        """See `peers.Peer`."""
        run, video = self.models["pipeline_runs"], self.models["discovered_videos"]
        clip = self.models["clips"]
        under = {name: self.models[name] for name in UNDER_A_RUN}
        queries = {name: model.select() for name, model in under.items()}
        queries["clips"] = clip.select(clip, video).join(video)
        short = self.models["shorts"]
        queries["shorts"] = short.select(short, clip).join(clip, peewee.JOIN.LEFT_OUTER)
        (found,) = peewee.prefetch(run.select().where(run.id == run_id), *queries.values())
        rows = {name: getattr(found, model.pipeline_run.backref) for name, model in under.items()}
        return rows_of(rows)
