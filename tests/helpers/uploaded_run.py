"""A run whose compilation was uploaded some days ago, for tests of growth."""

from __future__ import annotations

from datetime import datetime, timedelta

from shortsdb.models import PipelineRun


def uploaded_run(niche: str, video: str, now: datetime, *, days: int) -> PipelineRun:
    """Return a run of a niche, not yet in a session, with the id of its video on YouTube."""
    return PipelineRun(
        niche=niche,
        cycle_start=now,
        cycle_end=now,
        status="uploaded",
        completed_at=now - timedelta(days=days),
        youtube_video_id=video,
    )
