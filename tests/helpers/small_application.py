"""A small application that uses the package; `mypy --strict` must accept it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_type

from shortsdb import queries
from shortsdb.database import (
    DiscoveredVideo,
    PipelineRun,
    Short,
    Snapshot,
    check_db_health,
    get_override,
    get_pending_videos,
    get_pending_videos_async,
    get_session,
    init_db,
    init_db_async,
    log_error,
    mark_video_processed,
    record_snapshot,
    record_snapshots,
    record_snapshots_async,
    seed_db,
    set_override_async,
)
from shortsdb.engine import async_session_factory, session_factory
from shortsdb.models import Analytics
from shortsdb.repositories import AsyncShortRepository, ShortRepository


def pipeline(path: str) -> None:
    """Work on the database like the pipeline."""
    engine = init_db(path)
    with get_session(engine) as session:
        seed_db(session)
        videos = assert_type(get_pending_videos(session, "cats"), list[DiscoveredVideo])
        mark_video_processed(session, videos[0].video_id, 1)
        log_error(session, "render", "OSError", "disk full", pipeline_run_id=None)
        snapshots: list[Snapshot] = [{"youtube_video_id": "a", "view_count": 1}]
        assert_type(record_snapshots(session, snapshots), int)
        record_snapshot(session, "a", view_count=2, click_through_rate=0.05)
        assert_type(get_override(session, "clips_per_run"), str | None)
    with session_factory(engine, read_only=True)() as reader:
        run = reader.scalars(queries.run_with_everything(1)).one()
        assert_type(run, PipelineRun)
        titles = [clip.discovered_video.title for clip in run.clips]
        assert_type(titles, list[str])
        assert_type(reader.scalars(queries.latest_snapshot("a")).first(), Analytics | None)
        now = datetime.now().astimezone()
        growth = reader.scalars(queries.view_growth("a", now - timedelta(days=1), now)).one()
        assert_type(growth, int | None)
        totals = reader.execute(queries.niche_totals()).tuples().all()
        assert_type(totals, Sequence[tuple[str, int, int, float]])
        assert_type(ShortRepository(session=reader).by_status("uploaded"), list[Short])
    assert_type(check_db_health(engine).problems, tuple[str, ...])
    engine.dispose()


async def bot(path: str) -> None:
    """Work on the database like the Telegram bot."""
    engine = await init_db_async(path)
    sessions = async_session_factory(engine)
    async with sessions() as session:
        videos = await get_pending_videos_async(session, "cats")
        assert_type(videos, list[DiscoveredVideo])
        await set_override_async(session, "volume", "11", updated_by="telegram")
        assert_type(await record_snapshots_async(session, [{"youtube_video_id": "b"}]), int)
        reviews = (await session.scalars(queries.open_reviews())).all()
        assert_type([review.sent_at for review in reviews], list[datetime])
        shorts = await AsyncShortRepository(session=session).by_status("uploaded")
        assert_type(shorts, list[Short])
    await engine.dispose()


if __name__ == "__main__":
    pipeline(sys.argv[1])
    asyncio.run(bot(sys.argv[1]))
