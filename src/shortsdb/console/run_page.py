"""What the page of a run adds to its columns: errors and scripts as text, and a timeline."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from shortsdb.console.lists import PAGE_ROWS
from shortsdb.console.tables import views

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Row
    from sqlalchemy.orm import Session


class Event(NamedTuple):
    """Something that happened in a run."""

    moment: datetime
    text: str
    table: str
    key: int


@dataclass(frozen=True)
class RunPage:
    """What happened in a run; of each table only the newest rows.

    Attributes:
        timeline: What happened, oldest first.
        errors: The errors, oldest first.
        scripts: The scripts, newest first.
        cut: The tables that have more rows.
    """

    timeline: Sequence[Event]
    errors: Sequence[Row[Any]]
    scripts: Sequence[Row[Any]]
    cut: Sequence[str]


def read_run_page(session: Session, run: Row[Any]) -> RunPage:
    """Return what happened in a run.

    Indexes: ix_…_pipeline_run_id of each table.

    Args:
        session: Where to read.
        run: The run, from `read_row`.
    """
    found = {
        name: _newest(session, name, run.id)
        for name in ("scripts", "tts_audio", "review_logs", "error_logs", "shorts")
    }
    rows = {name: newest[:PAGE_ROWS] for name, newest in found.items()}
    # A value that is not a time has no place in the order; the lists show it.
    events = [
        Event(moment, text, table, key)
        for moment, text, table, key in _events(run, rows)
        if isinstance(moment, datetime)
    ]
    return RunPage(
        timeline=sorted(events, key=lambda event: event.moment),
        errors=rows["error_logs"][::-1],
        scripts=rows["scripts"],
        cut=[name for name, newest in found.items() if len(newest) > PAGE_ROWS],
    )


def _newest(session: Session, name: str, run_id: int) -> Sequence[Row[Any]]:
    """Return the newest rows of a run in a table, and one more if there is one."""
    view = views()[name]
    return session.execute(
        select(*view.stored)
        .where(view.fields["pipeline_run_id"].column == run_id)
        .order_by(view.key.column.desc())
        .limit(PAGE_ROWS + 1)
    ).all()


def _events(
    run: Row[Any], rows: Mapping[str, Sequence[Row[Any]]]
) -> Iterator[tuple[object, str, str, int]]:
    """Yield what happened: moment, text, table and key."""
    yield run.started_at, "started", "pipeline_runs", run.id
    for script in rows["scripts"]:
        text = f"script by {script.llm_model_used}"
        yield script.generated_at, text, "scripts", script.id
    for audio in rows["tts_audio"]:
        text = f"narration by {audio.engine_used}"
        yield audio.generated_at, text, "tts_audio", audio.id
    for review in rows["review_logs"]:
        answer = "held, nobody answered in time" if review.auto_held else review.action
        text = f"review: {answer or 'answered'}"
        yield review.sent_at, "review requested", "review_logs", review.id
        yield review.responded_at, text, "review_logs", review.id
    for error in rows["error_logs"]:
        text = f"error in {error.module}: {error.error_type}"
        yield error.occurred_at, text, "error_logs", error.id
    for short in rows["shorts"]:
        text = f"Short uploaded: {short.title or ''}"
        yield short.uploaded_at, text, "shorts", short.id
    yield run.completed_at, f"ended: {run.status}", "pipeline_runs", run.id


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
