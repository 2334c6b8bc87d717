"""The pipeline's queries: correct rows, the expected index, sync and async."""

from __future__ import annotations

import asyncio
import re
import shutil
from datetime import UTC, datetime, timedelta, timezone
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.orm import Session, selectinload

from shortsdb import queries
from shortsdb.database import get_session_async, seed_db, seed_db_async
from shortsdb.engine import create_async_engine, create_engine, session_factory
from shortsdb.models import (
    Analytics,
    Base,
    DiscoveredVideo,
    ErrorLog,
    PipelineRun,
    ReviewLog,
    Script,
    Short,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Database, Server
    from project import NewUrl

NOON = datetime(2026, 5, 6, 12)  # noqa: DTZ001 - the models hold naive UTC
HOUR = timedelta(hours=1)

RUN_CHILDREN = ("clips", "scripts", "tts_audio", "shorts", "review_logs", "error_logs")
# Every question, and the indexes that it must be answered by.
QUESTIONS: dict[str, tuple[Any, set[str]]] = {
    "pending_videos": (
        queries.pending_videos("cats"),
        {"idx_discovered_videos_niche", "idx_discovered_videos_processed"},
    ),
    "runs_by_status": (queries.runs_by_status("review"), {"idx_pipeline_runs_status"}),
    "run_with_everything": (queries.run_with_everything(1), {"INTEGER PRIMARY KEY"}),
    "latest_script": (queries.latest_script(1), {"ix_scripts_pipeline_run_id"}),
    "latest_audio": (queries.latest_audio(1), {"ix_tts_audio_pipeline_run_id"}),
    "shorts_by_status": (queries.shorts_by_status("pending"), {"ix_shorts_status"}),
    "open_reviews": (
        queries.open_reviews(),
        {"ix_review_logs_auto_held_responded_at_sent_at"},
    ),
    "overdue_reviews": (
        queries.overdue_reviews(NOON),
        {"ix_review_logs_auto_held_responded_at_sent_at"},
    ),
    "latest_snapshot": (queries.latest_snapshot("a"), {"idx_analytics_video"}),
    "latest_snapshots": (
        queries.latest_snapshots(["a", "b"]),
        {"idx_analytics_video", "INTEGER PRIMARY KEY"},
    ),
    "view_growth": (queries.view_growth("a", NOON, NOON + HOUR), {"idx_analytics_video"}),
    "niche_totals": (
        queries.niche_totals(),
        {
            "idx_pipeline_runs_status",
            "ix_shorts_status",
            "idx_analytics_video",
            "INTEGER PRIMARY KEY",
        },
    ),
    "config_overrides": (queries.config_overrides(), {"sqlite_autoindex_config_overrides_1"}),
    "unresolved_errors": (
        queries.unresolved_errors("tts"),
        {"ix_error_logs_resolved_module_occurred_at"},
    ),
    "error_counts": (queries.error_counts(), {"ix_error_logs_resolved_module_occurred_at"}),
}
for child in RUN_CHILDREN:
    model = PipelineRun.__mapper__.relationships[child].entity.class_
    index = "idx_clips_pipeline" if child == "clips" else f"ix_{child}_pipeline_run_id"
    statement = select(model).where(model.pipeline_run_id.in_([1]))
    QUESTIONS[f"run_with_everything: {child}"] = (statement, {index})


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    """Return a session on an empty database."""
    engine = create_engine(url)
    with session_factory(engine)() as session:
        yield session
    engine.dispose()


@pytest.fixture
def seeded(session: Session) -> Session:
    """Return a session on the small channel of seed_db."""
    seed_db(session)
    return session


def test_every_query_has_its_plan_checked() -> None:
    public = {
        name
        for name, function in vars(queries).items()
        if isinstance(function, FunctionType)
        and function.__module__ == queries.__name__
        and not name.startswith("_")
    }
    assert public == {name for name in QUESTIONS if ":" not in name}


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_query_uses_its_index(sqlite_engine: Engine, question: str) -> None:
    statement, indexes = QUESTIONS[question]
    compiled = statement.compile(sqlite_engine, compile_kwargs={"render_postcompile": True})
    parameters = compiled.construct_params()
    with sqlite_engine.connect() as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {compiled}",
            tuple(
                value.isoformat(" ") if isinstance(value, datetime) else value
                for value in (parameters[name] for name in compiled.positiontup)
            ),
        ).all()
    steps = [row.detail for row in plan]
    used = {
        index
        for index in ("INTEGER PRIMARY KEY", *all_indexes(sqlite_engine))
        if any(f"USING {index}" in s or f"INDEX {index} " in f"{s} " for s in steps)
    }
    assert used
    assert used <= indexes if question == "pending_videos" else used == indexes
    growing = set(Base.metadata.tables) - {"config_overrides"}
    scanned = {s.split()[1] for s in steps if s.startswith("SCAN")}
    assert not {name for name in scanned if name.removesuffix("_1") in growing}, steps


def all_indexes(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(
            connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'index'"
            ).scalars()
        )


def test_pending_videos_best_first_unscored_last(session: Session) -> None:
    for video_id, score, niche, processed in (
        ("low", 1.0, "cats", 0),
        ("none", None, "cats", 0),
        ("high", 9.5, "cats", 0),
        ("used", 99.0, "cats", 1),
        ("other", 99.0, "dogs", 0),
    ):
        session.add(
            DiscoveredVideo(
                video_id=video_id,
                title="",
                channel_name="",
                channel_id="",
                url="",
                niche=niche,
                viral_score=score,
                processed=processed,
            )
        )
    found = session.scalars(queries.pending_videos("cats")).all()
    assert [video.video_id for video in found] == ["high", "low", "none"]


def test_a_run_with_everything_takes_seven_statements(seeded: Session) -> None:
    run_id = seeded.scalars(queries.runs_by_status("uploaded")).first()
    assert run_id is not None
    number = run_id.id
    seeded.commit()
    seeded.expunge_all()
    statements: list[str] = []

    def note(*arguments: Any) -> None:  # noqa: ANN401 - the event's own
        statements.append(arguments[2])

    event.listen(seeded.get_bind(), "before_cursor_execute", note)
    run = seeded.scalars(queries.run_with_everything(number)).one()
    seen = {child: len(getattr(run, child)) for child in RUN_CHILDREN}
    titles = [clip.discovered_video.title for clip in run.clips]
    clips = [short.clip for short in run.shorts]
    event.remove(seeded.get_bind(), "before_cursor_execute", note)
    assert seen == dict(zip(RUN_CHILDREN, (4, 1, 1, 2, 1, 0), strict=True))
    assert len(titles) == 4
    assert clips == run.clips[:2]
    assert len([sql for sql in statements if sql.startswith("SELECT")]) == 7


def test_runs_and_shorts_by_status(seeded: Session) -> None:
    runs = seeded.scalars(queries.runs_by_status("uploaded")).all()
    assert [run.status for run in runs] == ["uploaded"] * 15
    assert [run.id for run in runs] == sorted((run.id for run in runs), reverse=True)
    shorts = seeded.scalars(queries.shorts_by_status("uploaded")).all()
    assert [short.status for short in shorts] == ["uploaded"] * 30
    assert seeded.scalars(queries.shorts_by_status("lost")).all() == []


def test_the_latest_script_and_audio_of_a_run(seeded: Session) -> None:
    run = seeded.scalars(queries.runs_by_status("review")).first()
    assert run is not None
    first = seeded.scalars(queries.latest_script(run.id)).one()
    again = Script(
        pipeline_run=run,
        full_script=[],
        total_char_count=0,
        estimated_duration_seconds=0,
        llm_model_used="",
        generated_at=first.generated_at,
    )
    seeded.add(again)
    assert seeded.scalars(queries.latest_script(run.id)).one() is again  # the later of two alike
    assert seeded.scalars(queries.latest_audio(run.id)).one() is run.tts_audio[0]
    assert seeded.scalars(queries.latest_audio(10**6)).all() == []


def test_open_and_overdue_reviews(session: Session) -> None:
    run = PipelineRun(niche="cats", cycle_start=NOON, cycle_end=NOON)
    session.add_all(
        ReviewLog(
            pipeline_run=run, action=name, sent_at=sent, responded_at=answered, auto_held=held
        )
        for name, sent, answered, held in (
            ("new", NOON + HOUR, None, 0),
            ("old", NOON - HOUR, None, 0),
            ("answered", NOON - HOUR, NOON, 0),
            ("held", NOON - HOUR, None, 1),
        )
    )
    opened = session.scalars(queries.open_reviews()).all()
    assert [review.action for review in opened] == ["old", "new"]
    overdue = session.scalars(queries.overdue_reviews(NOON.replace(tzinfo=UTC))).all()
    assert [review.action for review in overdue] == ["old"]
    assert session.scalars(queries.overdue_reviews(NOON - HOUR)).all() == []


@pytest.fixture
def measured(session: Session) -> Session:
    """Return a session on snapshots of two videos."""
    session.add_all(
        Analytics(youtube_video_id=video, measured_at=NOON + hours * HOUR, view_count=views)
        for video, hours, views in (
            ("a", 0, 100),
            ("a", 6, 150),
            ("a", 12, None),
            ("a", 18, 400),
            ("b", 1, 7),
            ("b", 1, 8),
        )
    )
    session.flush()
    return session


def test_latest_snapshots(measured: Session) -> None:
    assert measured.scalars(queries.latest_snapshot("a")).one().view_count == 400
    assert measured.scalars(queries.latest_snapshot("b")).one().view_count == 8
    assert measured.scalars(queries.latest_snapshot("c")).all() == []
    found = measured.scalars(queries.latest_snapshots(["a", "c", "b", "a"])).all()
    assert sorted((row.youtube_video_id, row.view_count) for row in found) == [("a", 400), ("b", 8)]
    assert measured.scalars(queries.latest_snapshots([])).all() == []
    many = [f"v{number}" for number in range(20_000)]
    assert len(measured.scalars(queries.latest_snapshots(["a", *many])).all()) == 1


@pytest.mark.parametrize(
    ("start", "end", "growth"),
    [
        (0, 18, 300),
        (-9, 99, 300),  # nothing before: from the first count on
        (3, 17, 50),  # by the last counts up to either; one that is missing is passed over
        (6, 6, 0),
        (-9, -1, None),
    ],
)
def test_view_growth(measured: Session, start: int, end: int, growth: int | None) -> None:
    east = timezone(timedelta(hours=9))
    moments = [(NOON + hours * HOUR).replace(tzinfo=UTC).astimezone(east) for hours in (start, end)]
    assert measured.scalars(queries.view_growth("a", *moments)).one() == growth


def expected_totals(session: Session) -> list[tuple[str, int, int, float]]:
    """Compute niche_totals in Python."""
    totals: dict[str, tuple[int, int, float]] = {}
    latest = {
        row.youtube_video_id: row
        for row in session.scalars(select(Analytics).order_by(Analytics.measured_at))
    }
    runs = session.scalars(select(PipelineRun).options(selectinload(PipelineRun.shorts)))
    for run in runs:
        uploads_of_run: list[PipelineRun | Short] = [run, *run.shorts]
        for upload in uploads_of_run:
            if upload.status == "uploaded":
                uploads, views, revenue = totals.get(run.niche, (0, 0, 0.0))
                row = latest.get(str(upload.youtube_video_id), Analytics())
                totals[run.niche] = (
                    uploads + 1,
                    views + (row.view_count or 0),
                    revenue + (row.estimated_revenue_usd or 0.0),
                )
    return [(niche, *totals[niche]) for niche in sorted(totals)]


def test_niche_totals(seeded: Session) -> None:
    unmeasured = seeded.scalars(queries.shorts_by_status("pending")).first()
    assert unmeasured is not None
    unmeasured.status = "uploaded"
    found = [tuple(row) for row in seeded.execute(queries.niche_totals())]
    expected = expected_totals(seeded)
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    assert [row[3] for row in found] == pytest.approx([row[3] for row in expected])
    assert sum(row[1] for row in expected) == 46


def test_overrides_and_errors(seeded: Session) -> None:
    keys = [override.key for override in seeded.scalars(queries.config_overrides())]
    assert keys == ["clips_per_run", "review_timeout_minutes"]
    errors = seeded.scalars(queries.unresolved_errors("analytics")).all()
    assert len(errors) == 2
    errors[0].resolved = 1
    seeded.add(
        ErrorLog(module="analytics", error_type="E", error_message="newer", occurred_at=NOON + HOUR)
    )
    left = seeded.scalars(queries.unresolved_errors("analytics")).all()
    assert [error.error_message for error in left[:1]] == ["newer"]
    assert len(left) == 2
    counts = [tuple(row) for row in seeded.execute(queries.error_counts())]
    assert counts == [("analytics", 2), ("render", 1)]


def flat(rows: Any) -> list[Any]:  # noqa: ANN401 - of any question
    """Return rows of any question as lists of values."""
    return [
        [value.to_dict() if isinstance(value, Base) else value for value in row] for row in rows
    ]


def test_async_sessions_return_the_same_rows(seeded: Session, new_url: NewUrl) -> None:
    async def main() -> dict[str, list[Any]]:
        engine = create_async_engine(new_url())
        async with get_session_async(engine) as session:
            await seed_db_async(session)
            found = {
                name: flat(await session.execute(statement))
                for name, (statement, _) in QUESTIONS.items()
            }
        await engine.dispose()
        return found

    found = asyncio.run(main())
    assert found == {
        name: flat(seeded.execute(statement)) for name, (statement, _) in QUESTIONS.items()
    }


def test_sqlite_and_postgresql_return_the_same_rows(
    head_file: Path, tmp_path: Path, postgres: Server, head_database: Database
) -> None:
    found = []
    for url in (shutil.copy(head_file, tmp_path), postgres.create_database(head_database).url):
        engine = create_engine(url)
        with session_factory(engine)() as session:
            seed_db(session)
            answers = {
                name: flat(session.execute(statement)) for name, (statement, _) in QUESTIONS.items()
            }
        engine.dispose()
        answers["latest_snapshots"].sort(key=repr)  # in no order
        totals = answers["niche_totals"]
        assert {type(value) for row in totals for value in row} == {str, int, float}
        answers["niche_totals"] = [[*row[:3], round(row[3], 6)] for row in totals]
        found.append(answers)
    assert found[0] == found[1]


def test_an_index_can_serve_each_query_on_postgresql(
    postgres: Server, head_database: Database
) -> None:
    engine = create_engine(postgres.create_database(head_database).url)
    growing = set(Base.metadata.tables) - {"config_overrides"}
    with session_factory(engine)() as session:
        seed_db(session)
        session.execute(text("ANALYZE"))
        # PostgreSQL scans small tables; with this setting only if no index can be used.
        session.execute(text("SET LOCAL enable_seqscan = off"))
        for name, (statement, _) in QUESTIONS.items():
            compiled = statement.compile(engine, compile_kwargs={"literal_binds": True})
            plan = "\n".join(session.connection().exec_driver_sql(f"EXPLAIN {compiled}").scalars())
            scanned = set(re.findall(r"Seq Scan on (\w+)", plan))
            assert not scanned & growing, (name, plan)
            assert "Index" in plan, (name, plan)
    engine.dispose()
