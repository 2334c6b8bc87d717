"""What the page of a run adds to its columns: the script as text, and a timeline."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from shortsdb import queries

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from shortsdb.models import PipelineRun


class Event(NamedTuple):
    """Something that happened in a run."""

    moment: datetime
    text: str
    table: str
    key: int


def read_run(session: Session, run_id: int) -> PipelineRun | None:
    """Return a run with everything that refers to it, or None."""
    return session.scalars(queries.run_with_everything(run_id)).one_or_none()


def timeline(run: PipelineRun) -> list[Event]:
    """Return what happened in a run, oldest first."""

    def event(moment: datetime | None, text: str, table: str, key: int) -> None:
        if moment is not None:
            events.append(Event(moment, text, table, key))

    events: list[Event] = []
    event(run.started_at, "started", "pipeline_runs", run.id)
    for script in run.scripts:
        event(script.generated_at, f"script by {script.llm_model_used}", "scripts", script.id)
    for audio in run.tts_audio:
        event(audio.generated_at, f"narration by {audio.engine_used}", "tts_audio", audio.id)
    for review in run.review_logs:
        answer = "held, nobody answered in time" if review.auto_held else review.action
        event(review.sent_at, "review requested", "review_logs", review.id)
        event(review.responded_at, f"review: {answer or 'answered'}", "review_logs", review.id)
    for error in run.error_logs:
        event(
            error.occurred_at,
            f"error in {error.module}: {error.error_type}",
            "error_logs",
            error.id,
        )
    for short in run.shorts:
        event(short.uploaded_at, f"Short uploaded: {short.title or ''}", "shorts", short.id)
    event(run.completed_at, f"ended: {run.status}", "pipeline_runs", run.id)
    return sorted(events, key=lambda event: event.moment)


def spoken(script: str) -> list[str]:
    """Return the texts in the JSON of a script, in their order; what is not JSON is one text."""
    try:
        pending = [json.loads(script)]
    except (ValueError, TypeError, RecursionError):
        return [str(script)]
    texts = []
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += reversed(value.values())
        elif isinstance(value, list):
            pending += reversed(value)
        elif isinstance(value, str):
            texts.append(value)
    return texts
