"""Reproducible sample data of a small channel, for `seed_db`."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from shortsdb.models import (
    Analytics,
    Base,
    Clip,
    ConfigOverride,
    DiscoveredVideo,
    ErrorLog,
    PipelineRun,
    ReviewLog,
    Script,
    Short,
    TTSAudio,
)

_START = datetime(2026, 1, 5)  # noqa: DTZ001 - the models hold naive UTC
_CYCLE = timedelta(hours=6)
_SUBJECTS = {"cats": "cat", "cooking": "pasta", "地震": "地震"}
# The statuses of the runs of a niche, oldest first.
_STATUSES = (
    "uploaded",
    "uploaded",
    "failed",
    "uploaded",
    "approved",
    "review",
    "running",
    "pending",
)
# The stages in order. A run has the rows of its own and all earlier stages.
_STAGES = ("pending", "running", "review", "approved", "uploaded")


def channel() -> list[Base]:
    """Return new, related objects that are not in a session."""
    rng = random.Random(1)  # noqa: S311 - reproducible, not secret
    rows: list[Base] = [
        ConfigOverride(key="clips_per_run", value="4", updated_by="telegram", updated_at=_START),
        ConfigOverride(key="review_timeout_minutes", value="45", updated_at=_START),
    ]
    for niche in _SUBJECTS:
        for cycle, status in enumerate(_STATUSES):
            rows += _run(rng, niche, cycle, status)
    return rows


def _run(rng: random.Random, niche: str, cycle: int, status: str) -> list[Base]:
    start = _START + cycle * _CYCLE
    run = PipelineRun(
        niche=niche, cycle_start=start, cycle_end=start + _CYCLE, status=status, retry_count=0
    )
    rows: list[Base] = [run]
    videos = [_video(rng, niche, cycle, number, start) for number in range(6)]
    rows += videos
    if status == "failed":
        run.started_at = start + timedelta(minutes=2)
        run.completed_at = start + timedelta(minutes=9)
        run.error_message = "the TTS engine timed out"
        run.retry_count = 2
        rows += _error(run)
        return rows
    stage = _STAGES.index(status)
    if stage >= _STAGES.index("running"):
        run.started_at = start + timedelta(minutes=2)
        rows += _clips(rng, run, videos[:4])
    if stage >= _STAGES.index("review"):
        rows += _narration(rng, run, niche)
        run.video_file_path = f"/videos/{niche}-{cycle}.mp4"
        run.video_duration_seconds = round(rng.uniform(480, 620), 1)
        run.video_file_size_bytes = rng.randrange(300_000_000, 900_000_000)
        rows += _review(run, answered=stage > _STAGES.index("review"))
    if status == "uploaded":
        run.completed_at = start + timedelta(minutes=95)
        run.youtube_video_id = f"{niche}-compilation-{cycle}"
        run.youtube_url = f"https://youtu.be/{run.youtube_video_id}"
        rows += _analytics(rng, run.youtube_video_id, run.completed_at, rng.randrange(400, 900))
        for short in run.shorts:
            video = str(short.youtube_video_id)
            rows += _analytics(rng, video, run.completed_at, rng.randrange(2_000, 9_000))
    return rows


def _video(
    rng: random.Random, niche: str, cycle: int, number: int, start: datetime
) -> DiscoveredVideo:
    views = rng.randrange(50_000, 5_000_000)
    hours = rng.uniform(3, 72)
    return DiscoveredVideo(
        video_id=f"{niche}-{cycle}-{number}",
        title=f"The {_SUBJECTS[niche]} that nobody expected, part {number + 1}",
        channel_name=f"Daily {niche}",
        channel_id=f"UC-{niche}-{number % 3}",
        url=f"https://youtu.be/{niche}-{cycle}-{number}",
        category_id=24,
        duration_seconds=rng.randrange(20, 600),
        view_count=views,
        like_count=views // 25,
        comment_count=views // 400,
        view_velocity=round(views / hours, 2),
        viral_score=round(rng.uniform(20, 98), 2),
        niche=niche,
        discovery_source="trending",
        discovered_at=start + timedelta(minutes=number),
        processed=0,
        content_id_risk=rng.choice(("low", "low", "medium", "high")),
    )


def _clips(rng: random.Random, run: PipelineRun, videos: list[DiscoveredVideo]) -> list[Base]:
    rows: list[Base] = []
    for rank, video in enumerate(videos, start=1):
        video.processed = 1
        begin = round(rng.uniform(0, 8), 1)
        seconds = round(rng.uniform(5, 12), 1)
        clip = Clip(
            pipeline_run=run,
            discovered_video=video,
            rank_position=rank,
            start_time_seconds=begin,
            end_time_seconds=round(begin + seconds, 1),
            clip_duration_seconds=seconds,
            extraction_method="scene",
            clip_file_path=f"/clips/{video.video_id}.mp4",
            content_id_risk=video.content_id_risk,
        )
        rows.append(clip)
        if rank == 1:
            rows.append(_short(rng, run, clip))
    return rows


def _short(rng: random.Random, run: PipelineRun, clip: Clip) -> Short:
    short = Short(
        pipeline_run=run,
        clip=clip,
        file_path=f"/shorts/{clip.discovered_video.video_id}.mp4",
        duration_seconds=round(rng.uniform(25, 59), 1),
        title=f"{clip.discovered_video.title} #shorts",
        status={"review": "review", "uploaded": "uploaded"}.get(run.status, "pending"),
    )
    if run.status == "uploaded":
        short.youtube_video_id = f"{clip.discovered_video.video_id}-short"
        short.youtube_url = f"https://youtu.be/{short.youtube_video_id}"
        short.uploaded_at = run.cycle_start + timedelta(minutes=100)
    return short


def _narration(rng: random.Random, run: PipelineRun, niche: str) -> list[Base]:
    lines = [f"Number {rank}: watch the {_SUBJECTS[niche]}." for rank in (4, 3, 2, 1)]
    opening, closing = f"Four moments of {niche} you missed 🎬", "Which was yours?"
    count = len(opening) + len(closing) + sum(map(len, lines))
    seconds = round(count / 15, 1)
    written = run.cycle_start + timedelta(minutes=20)
    script = Script(
        pipeline_run=run,
        opening_text=opening,
        closing_text=closing,
        full_script={"opening": opening, "lines": lines, "closing": closing},
        total_char_count=count,
        estimated_duration_seconds=seconds,
        llm_model_used="example-llm-1",
        generated_at=written,
    )
    audio = TTSAudio(
        pipeline_run=run,
        engine_used="example-tts",
        voice_profile="narrator",
        audio_file_path=f"/audio/{niche}-{run.cycle_start:%d%H}.mp3",
        duration_seconds=round(seconds * rng.uniform(0.95, 1.1), 1),
        generated_at=written + timedelta(minutes=1),
    )
    return [script, audio]


def _review(run: PipelineRun, *, answered: bool) -> list[Base]:
    review = ReviewLog(pipeline_run=run, sent_at=run.cycle_start + timedelta(minutes=40))
    if answered:
        review.responded_at = review.sent_at + timedelta(minutes=17)
        review.action = "approve"
    return [review]


def _error(run: PipelineRun) -> list[Base]:
    return [
        ErrorLog(
            pipeline_run=run,
            module="tts",
            error_type="TimeoutError",
            error_message="no answer within 120 s",
            stack_trace="Traceback (most recent call last):\n  …\nTimeoutError",
            occurred_at=run.cycle_start + timedelta(minutes=9),
        )
    ]


def _analytics(rng: random.Random, video: str, uploaded: datetime, fans: int) -> list[Base]:
    """Return eight polls, six hours apart, of a video whose growth slows down."""
    rows: list[Base] = []
    views = 0
    for poll in range(1, 9):
        views += fans * 10 // poll + rng.randrange(50)
        rows.append(
            Analytics(
                youtube_video_id=video,
                measured_at=uploaded + poll * _CYCLE,
                view_count=views,
                like_count=views // 22,
                comment_count=views // 300,
                average_view_duration_seconds=round(rng.uniform(60, 240), 1),
                click_through_rate=round(rng.uniform(0.03, 0.09), 4),
                subscriber_gain=views // 500,
                estimated_revenue_usd=round(views * 0.0021, 2),
            )
        )
    return rows
