# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, DTZ001, T201, UP017
"""A deployed application: plain SQLAlchemy, three tables, a bot thread and a pipeline.

Usage: deployed_application.py PATH, or with one import changed to shortsdb.database.

It prints its results as JSON. Times are naive UTC, and results of threads do not depend on their
order.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading

# The one import that moving over changes.
from deployed_models import (
    Clip,
    DiscoveredVideo,
    PipelineRun,
    get_pending_videos,
    get_session,
    init_db,
    mark_video_processed,
)
from sqlalchemy import func, inspect, text
from sqlalchemy.exc import IntegrityError

RUNS = 15


def utcnow():
    """Return naive UTC."""
    return dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)


def discover(session, niche, number):
    """Add a video that is incomplete at first: queries in between must not fail."""
    video = DiscoveredVideo(video_id=f"{niche}-{number}", niche=niche)
    session.add(video)
    if session.query(DiscoveredVideo).filter_by(video_id=video.video_id).count():
        raise RuntimeError("found before it was saved")
    video.title, video.channel_name, video.channel_id, video.url = "標題", "Ü", "UC", "u"
    video.viral_score = number / 2
    video.discovered_at = utcnow()
    session.commit()


def run_cycle(engine, number):
    """Work like the pipeline, with three nested sessions."""
    with get_session(engine) as session:
        discover(session, "cats", number)
        start = dt.date(2026, 5, 1) + dt.timedelta(days=number)
        run = PipelineRun(niche="cats", cycle_start=start, cycle_end=dt.datetime(2026, 6, 1))
        session.add(run)
        session.commit()
        video = get_pending_videos(session, "cats")[0]
        with get_session(engine) as other:
            clip = Clip(
                pipeline_run_id=run.id,
                discovered_video_id=video.id,
                rank_position=1,
                start_time_seconds=0.0,
                end_time_seconds=9.5,
                clip_duration_seconds=9.5,
            )
            other.add(clip)
            other.commit()
        mark_video_processed(session, video.video_id, 1)
        run.status = "uploaded"
        run.completed_at = utcnow()
        session.commit()


def watch(engine, done, seen):
    """Work like the bot, with one long session that only reads."""
    session = get_session(engine)
    while not done.is_set():
        for run in session.query(PipelineRun).order_by(PipelineRun.id):
            seen.add(run.status)
        session.commit()
    session.close()


def main(path):
    """Run the pipeline and the bot, and print the results."""
    engine = init_db(path)
    seen = set()
    done = threading.Event()
    bot = threading.Thread(target=watch, args=(engine, done, seen))
    bot.start()
    try:
        for number in range(RUNS):
            run_cycle(engine, number)
    finally:
        done.set()
        bot.join()
    with get_session(engine) as session:
        session.add(DiscoveredVideo(video_id="cats-0", niche="cats"))
        try:
            session.commit()
            duplicate = "saved"
        except IntegrityError:
            session.rollback()
            duplicate = "refused"
        try:
            mark_video_processed(session, "no such video", 1)
            unknown = "done"
        except ValueError:
            unknown = "refused"
        middle = dt.date(2026, 5, 8)
        later = session.query(PipelineRun).filter(PipelineRun.cycle_start >= middle).count()
        first = session.query(PipelineRun).order_by(PipelineRun.id).first()
        found = {
            "duplicate": duplicate,
            "unknown": unknown,
            "later": later,
            "start": first.cycle_start.isoformat(),
            "naive": first.completed_at.tzinfo is None,
            "age": 0 <= (utcnow() - first.completed_at).total_seconds() < 3600,
            "runs": session.query(PipelineRun).filter_by(status="uploaded").count(),
            "clips": session.query(func.sum(Clip.clip_duration_seconds)).scalar(),
            "pending": [video.video_id for video in get_pending_videos(session, "cats")],
            "strange statuses": sorted(seen - {"pending", "uploaded"}),
            "tables": sorted(
                {"clips", "discovered_videos", "pipeline_runs"}
                & set(inspect(engine).get_table_names())
            ),
        }
    with engine.connect() as connection:
        connection.execute(text("VACUUM"))
        found["rows"] = connection.execute(text("SELECT count(*) FROM clips")).scalar()
    raw = engine.raw_connection()
    raw.cursor().execute("DELETE FROM clips")
    raw.rollback()
    raw.close()
    with engine.connect() as connection:
        found["rows after rollback"] = connection.execute(
            text("SELECT count(*) FROM clips")
        ).scalar()
    engine.dispose()
    print(json.dumps(found, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1])
