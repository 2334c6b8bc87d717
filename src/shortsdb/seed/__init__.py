"""Reproducible sample data of a small channel, for `seed_db`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
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
from shortsdb.seed._texts import FAILURES, NICHES

EXAMPLE_END = datetime.fromisoformat("2026-01-07")
"""The end of the sample data by default."""

_CYCLE = timedelta(hours=6)
_CYCLES_A_DAY = 4
_CYCLES_A_WEEK = 7 * _CYCLES_A_DAY

# The steps of a run, in order.
_STEPS = ("clip", "script", "tts", "render", "review", "upload")
_UNRESOLVED_FOR = timedelta(days=5)
_REVIEW_TIMEOUT = timedelta(days=2)
_FIRST_POLLS = 8
# From one script to the next, if the reviewer asks for another.
_REDO = timedelta(minutes=35)


def channel(end: datetime, days: int) -> list[Base]:
    """Return new, related objects that are not in a session.

    Args:
        end: The present of the channel, in UTC; no time is later. The last cycle began an hour
            earlier.
        days: How many days the channel has existed. There are four runs a day in each niche.
    """
    maker = _Maker(end)
    settings = {"clips_per_run": "4", "review_timeout_minutes": "2880"}
    maker.rows += [
        ConfigOverride(key=key, value=value, updated_by="telegram", updated_at=end - age * _CYCLE)
        for age, (key, value) in enumerate(settings.items(), start=3)
    ]
    cycles = days * _CYCLES_A_DAY
    for cycle in range(cycles):
        for niche in NICHES:
            maker.add_run(niche, cycle, remaining=cycles - cycle - 1)
        if cycle % 5 == 1:
            maker.add_error(None, "analytics", end - (cycles - cycle) * _CYCLE)
    return maker.rows


@dataclass
class _Maker:
    """Collects the rows of a channel."""

    end: datetime
    rows: list[Base] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - no secret

    def add_run(self, niche: str, cycle: int, remaining: int) -> None:
        """Add a run, before the `remaining` later ones of its niche, and all that belongs to it."""
        newest = NICHES[niche].newest
        status = (
            newest[-1 - remaining]
            if remaining < len(newest)
            else self.rng.choices(("uploaded", "failed", "review"), (17, 2, 1))[0]
        )
        start = self.end - timedelta(hours=1) - remaining * _CYCLE
        run = PipelineRun(
            niche=niche, cycle_start=start, cycle_end=start + _CYCLE, status=status, retry_count=0
        )
        self.rows.append(run)
        videos = [self._video(run, cycle, number) for number in range(6)]
        if status == "pending":
            return
        run.started_at = start + timedelta(minutes=2)
        failing = None
        if status == "failed":
            # The run that failed last night did so while rendering.
            failing = "render" if remaining < len(newest) else self.rng.choice(_STEPS)
        last = {"failed": failing, "running": "script", "uploaded": None}.get(status, "upload")
        steps = _STEPS if last is None else _STEPS[: _STEPS.index(last)]
        for step in steps:
            getattr(self, f"_{step}")(run, videos[:4])
        if failing:
            self._fail(run, failing, start + timedelta(minutes=5 + 13 * (len(steps) + 1)))

    def _video(self, run: PipelineRun, cycle: int, number: int) -> DiscoveredVideo:
        views = self.rng.randrange(50_000, 5_000_000)
        title = NICHES[run.niche].titles[(cycle + number) % 7]
        video = DiscoveredVideo(
            video_id=f"{run.niche}-{cycle}-{number}",
            title=title,
            channel_name=f"Daily {run.niche}",
            channel_id=f"UC-{run.niche}-{number % 3}",
            url=f"https://youtu.be/{run.niche}-{cycle}-{number}",
            category_id=24,
            duration_seconds=self.rng.randrange(20, 600),
            view_count=views,
            like_count=views // 25,
            comment_count=views // 400,
            view_velocity=round(views / self.rng.uniform(3, 72), 2),
            viral_score=round(self.rng.uniform(20, 98), 2),
            niche=run.niche,
            discovery_source="trending",
            discovered_at=run.cycle_start + timedelta(minutes=number),
            processed=0,
            content_id_risk=self.rng.choice(("low", "low", "medium", "high")),
        )
        self.rows.append(video)
        return video

    def _clip(self, run: PipelineRun, videos: list[DiscoveredVideo]) -> None:
        for rank, video in enumerate(videos, start=1):
            video.processed = 1
            begin = round(self.rng.uniform(0, 8), 1)
            seconds = round(self.rng.uniform(5, 12), 1)
            self.rows.append(
                Clip(
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
            )

    def _script(self, run: PipelineRun, videos: list[DiscoveredVideo]) -> None:
        opening, closing = f"Four moments of {run.niche} that you missed", "Which was yours?"
        lines = [f"Number {5 - rank}: {video.title}." for rank, video in enumerate(videos, start=1)]
        count = len(opening) + len(closing) + sum(map(len, lines))
        self.rows.append(
            Script(
                pipeline_run=run,
                opening_text=opening,
                closing_text=closing,
                full_script={"opening": opening, "lines": lines, "closing": closing},
                total_char_count=count,
                estimated_duration_seconds=round(count / 15, 1),
                llm_model_used="example-llm-1",
                generated_at=run.cycle_start + timedelta(minutes=20) + len(run.scripts) * _REDO,
            )
        )

    def _tts(self, run: PipelineRun, _: list[DiscoveredVideo]) -> None:
        seconds = run.scripts[0].estimated_duration_seconds
        self.rows.append(
            TTSAudio(
                pipeline_run=run,
                engine_used="example-tts",
                voice_profile="narrator",
                audio_file_path=f"/audio/{run.niche}-{run.cycle_start:%m%d%H}.mp3",
                duration_seconds=round(seconds * self.rng.uniform(0.95, 1.1), 1),
                generated_at=run.cycle_start + timedelta(minutes=21),
            )
        )

    def _render(self, run: PipelineRun, videos: list[DiscoveredVideo]) -> None:
        run.video_file_path = f"/videos/{videos[0].video_id}.mp4"
        run.video_duration_seconds = round(self.rng.uniform(480, 620), 1)
        run.video_file_size_bytes = self.rng.randrange(300_000_000, 900_000_000)
        for clip in run.clips[:2]:
            self.rows.append(
                Short(
                    pipeline_run=run,
                    clip=clip,
                    file_path=f"/shorts/{clip.discovered_video.video_id}.mp4",
                    duration_seconds=round(self.rng.uniform(25, 59), 1),
                    title=f"{clip.discovered_video.title} #shorts",
                    description=f"From our compilation of {run.niche}.",
                    status="review" if run.status == "review" else "pending",
                )
            )

    def _upload(self, run: PipelineRun, videos: list[DiscoveredVideo]) -> None:
        run.completed_at = run.cycle_start + timedelta(minutes=95)
        run.youtube_video_id = f"{videos[0].video_id}-compilation"
        run.youtube_url = f"https://youtu.be/{run.youtube_video_id}"
        niche = NICHES[run.niche]
        weeks = (self.end - run.cycle_start) / (_CYCLES_A_WEEK * _CYCLE)
        views = niche.views * niche.weekly**-weeks * self.rng.uniform(0.7, 1.4)
        self._analytics(run.youtube_video_id, run.completed_at, views)
        for short in run.shorts:
            assert short.clip is not None  # noqa: S101 - for the type checker: _render sets it
            short.status = "uploaded"
            short.youtube_video_id = f"{short.clip.discovered_video.video_id}-short"
            short.youtube_url = f"https://youtu.be/{short.youtube_video_id}"
            short.uploaded_at = run.completed_at + timedelta(minutes=5)
            self._analytics(short.youtube_video_id, short.uploaded_at, 2 * views)

    def _analytics(self, video: str, uploaded: datetime, views: float) -> None:
        """Add polls of a video whose growth slows down: every cycle at first, then every day."""
        age = _CYCLE
        while uploaded + age <= self.end:
            seen = int(views * age / (age + timedelta(days=2)))
            self.rows.append(
                Analytics(
                    youtube_video_id=video,
                    measured_at=uploaded + age,
                    view_count=seen,
                    like_count=seen // 22,
                    comment_count=seen // 300,
                    average_view_duration_seconds=round(self.rng.uniform(60, 240), 1),
                    click_through_rate=round(self.rng.uniform(0.03, 0.09), 4),
                    subscriber_gain=seen // 500,
                    estimated_revenue_usd=round(seen * 0.0021, 2),
                )
            )
            age += _CYCLE if age < _FIRST_POLLS * _CYCLE else _CYCLES_A_DAY * _CYCLE

    def _review(self, run: PipelineRun, videos: list[DiscoveredVideo]) -> None:
        review = self._ask(run)
        if run.status == "review":
            review.auto_held = int(review.sent_at < self.end - _REVIEW_TIMEOUT)
            return
        if self.rng.random() < 0.1:  # noqa: PLR2004 - now and then
            self._answer(review, "redo_script", "shorter, please")
            self._script(run, videos)
            review = self._ask(run)
        answers = (("approve", None), ("skip", "skip 3"))
        self._answer(review, *self.rng.choices(answers, (9, 1))[0])

    def _ask(self, run: PipelineRun) -> ReviewLog:
        sent = run.cycle_start + timedelta(minutes=40) + len(run.review_logs) * _REDO
        review = ReviewLog(pipeline_run=run, sent_at=sent)
        self.rows.append(review)
        return review

    def _answer(self, review: ReviewLog, action: str, detail: str | None) -> None:
        review.responded_at = review.sent_at + timedelta(minutes=self.rng.randrange(3, 13))
        review.action, review.response_detail = action, detail

    def _fail(self, run: PipelineRun, step: str, when: datetime) -> None:
        run.completed_at = when
        if step == "review":
            run.error_message = "rejected in the review: the narration does not fit the clips"
            self._answer(self._ask(run), "reject", "the narration does not fit the clips")
            return
        run.retry_count = 2
        run.error_message = f"{step}: {FAILURES[step][1]}"
        self.add_error(run, step, when)

    def add_error(self, run: PipelineRun | None, module: str, when: datetime) -> None:
        """Add an error, unresolved if it is recent."""
        error_type, message, function, line = FAILURES[module]
        self.rows.append(
            ErrorLog(
                pipeline_run=run,
                module=module,
                error_type=error_type,
                error_message=message,
                stack_trace=(
                    "Traceback (most recent call last):\n"
                    '  File "pipeline/steps.py", line 61, in run_step\n'
                    "    step(run)\n"
                    f'  File "pipeline/{module}.py", line 118, in {function}\n'
                    f"    {line}\n"
                    f"{error_type}: {message}\n"
                ),
                occurred_at=when,
                resolved=int(when < self.end - _UNRESOLVED_FOR),
            )
        )
