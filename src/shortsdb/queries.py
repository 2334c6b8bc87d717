"""The pipeline's queries, as Selects for sync and async sessions.

`session.scalars(pending_videos("cats"))` returns model objects; use `session.execute(...)` for rows
of several columns, and `await` either on an async session. Times are UTC, naive or aware.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sqlalchemy import (
    BigInteger,
    Float,
    String,
    and_,
    cast,
    column,
    false,
    func,
    select,
    union_all,
    values,
)
from sqlalchemy.orm import aliased, selectinload

from shortsdb.models import (
    Analytics,
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

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement, Executable, ScalarSelect
    from sqlalchemy.orm import InstrumentedAttribute
    from sqlalchemy.sql.selectable import FromClause

P = ParamSpec("P")
RowsT = TypeVar("RowsT")


def _gives(
    like: RowsT,  # noqa: ARG001 - only its type counts
) -> Callable[[Callable[P, Executable]], Callable[P, RowsT]]:
    """Give a query the type of the Select `like`.

    That type is Select[tuple[Row]] in SQLAlchemy 2.0 and Select[Row] in 2.1, so it is inferred.
    """

    def typed(query: Callable[P, Executable]) -> Callable[P, RowsT]:
        return query  # type: ignore[return-value] # it returns a Select with these columns

    return typed


@_gives(select(DiscoveredVideo))
def pending_videos(niche: str) -> Executable:
    """Undecided videos of a niche, best viral score first, videos without a score last.

    Index: idx_discovered_videos_processed or idx_discovered_videos_niche, as the database chooses.
    """
    return (
        select(DiscoveredVideo)
        .where(DiscoveredVideo.niche == niche, DiscoveredVideo.processed == 0)
        .order_by(DiscoveredVideo.viral_score.desc().nulls_last(), DiscoveredVideo.id)
    )


@_gives(select(PipelineRun))
def runs_by_status(status: str) -> Executable:
    """Runs with a status, newest first. Index: idx_pipeline_runs_status."""
    return select(PipelineRun).where(PipelineRun.status == status).order_by(PipelineRun.id.desc())


@_gives(select(PipelineRun))
def run_with_everything(run_id: int) -> Executable:
    """One run with all rows that refer to it, each Short's clip and each clip's discovered video.

    Takes seven statements for any number of rows. Indexes: the primary key, idx_clips_pipeline, and
    ix_…_pipeline_run_id of the five other tables.
    """
    return (
        select(PipelineRun)
        .where(PipelineRun.id == run_id)
        .options(
            # Clips are loaded by two paths, and the later path overwrites the objects of the
            # earlier one, so both must load the discovered video.
            selectinload(PipelineRun.clips).joinedload(Clip.discovered_video),
            selectinload(PipelineRun.scripts),
            selectinload(PipelineRun.tts_audio),
            selectinload(PipelineRun.shorts)
            .joinedload(Short.clip)
            .joinedload(Clip.discovered_video),
            selectinload(PipelineRun.review_logs),
            selectinload(PipelineRun.error_logs),
        )
    )


@_gives(select(Script))
def latest_script(run_id: int) -> Executable:
    """The latest script of a run, or no row. Index: ix_scripts_pipeline_run_id."""
    return (
        select(Script)
        .where(Script.pipeline_run_id == run_id)
        .order_by(Script.generated_at.desc(), Script.id.desc())
        .limit(1)
    )


@_gives(select(TTSAudio))
def latest_audio(run_id: int) -> Executable:
    """The latest narration of a run, or no row. Index: ix_tts_audio_pipeline_run_id."""
    return (
        select(TTSAudio)
        .where(TTSAudio.pipeline_run_id == run_id)
        .order_by(TTSAudio.generated_at.desc(), TTSAudio.id.desc())
        .limit(1)
    )


@_gives(select(Short))
def shorts_by_status(status: str) -> Executable:
    """Shorts with a status, oldest first. Index: ix_shorts_status."""
    return select(Short).where(Short.status == status).order_by(Short.id)


@_gives(select(ReviewLog))
def open_reviews() -> Executable:
    """Reviews that are neither answered nor held automatically, oldest first.

    Index: ix_review_logs_auto_held_responded_at_sent_at.
    """
    return (
        select(ReviewLog)
        .where(ReviewLog.auto_held == 0, ReviewLog.responded_at.is_(None))
        .order_by(ReviewLog.sent_at, ReviewLog.id)
    )


@_gives(select(ReviewLog))
def overdue_reviews(sent_before: datetime) -> Executable:
    """Open reviews sent before a given time, oldest first.

    Index: ix_review_logs_auto_held_responded_at_sent_at.
    """
    return open_reviews().where(ReviewLog.sent_at < sent_before)


# Built once, because this is the most frequent query and building it cost more than running it.
_NEWEST_SNAPSHOT = (
    select(Analytics).order_by(Analytics.measured_at.desc(), Analytics.id.desc()).limit(1)
)


@_gives(select(Analytics))
def latest_snapshot(youtube_video_id: str) -> Executable:
    """The latest snapshot of a video, or no row. Index: idx_analytics_video."""
    return _NEWEST_SNAPSHOT.where(Analytics.youtube_video_id == youtube_video_id)


def _latest_snapshot_id(videos: FromClause) -> ScalarSelect[int]:
    """The id of the latest snapshot of the video in each row of `videos`."""
    snapshot = aliased(Analytics)
    return (
        select(snapshot.id)
        .where(snapshot.youtube_video_id == videos.c.youtube_video_id)
        .order_by(snapshot.measured_at.desc(), snapshot.id.desc())
        .limit(1)
        .correlate(videos)
        .scalar_subquery()
    )


@_gives(select(Analytics))
def latest_snapshots(youtube_video_ids: Collection[str]) -> Executable:
    """The latest snapshot of each of many videos, in no order; videos without one are omitted.

    Up to 32,766 videos, SQLite's limit on variables. Indexes: idx_analytics_video, once per video,
    and the primary key.
    """
    if not youtube_video_ids:
        return select(Analytics).where(false())
    wanted = (
        values(column("youtube_video_id", String), name="wanted")
        .data([(video,) for video in dict.fromkeys(youtube_video_ids)])
        .cte()
    )
    return select(Analytics).join(wanted, Analytics.id == _latest_snapshot_id(wanted))


@_gives(select(Analytics.view_count))
def view_growth(youtube_video_id: str, start: datetime, end: datetime) -> Executable:
    """How many views a video gained from `start` to `end`, one row with one number.

    That is the last count measured up to `end` minus the last one up to `start` or, if there is
    none, the first one after it. None if nothing was measured up to `end`. As in `niche_totals`,
    snapshots without a view count are ignored. Index: idx_analytics_video.
    """

    def count(
        when: ColumnElement[bool], *order: ColumnElement[Any] | InstrumentedAttribute[Any]
    ) -> ScalarSelect[int]:
        return (
            select(Analytics.view_count)
            .where(
                Analytics.youtube_video_id == youtube_video_id,
                Analytics.view_count.is_not(None),
                when,
            )
            .order_by(*order)
            .limit(1)
            .scalar_subquery()
        )

    measured = Analytics.measured_at
    latest = (measured.desc(), Analytics.id.desc())
    at_end = count(measured <= end, *latest)
    at_start = count(measured <= start, *latest)
    first = count(and_(measured > start, measured <= end), measured, Analytics.id)
    return select((at_end - func.coalesce(at_start, first)).label("view_growth"))


@_gives(
    select(
        PipelineRun.niche,
        func.count().label("uploads"),
        func.count().label("views"),
        func.coalesce(Analytics.estimated_revenue_usd, 0.0).label("revenue_usd"),
    )
)
def niche_totals() -> Executable:
    """The number of uploads of each niche, with their views and revenue.

    An upload is a run or a Short with the status uploaded. The rows have niche, uploads, views and
    revenue_usd (US dollars), sorted by niche; niches without uploads are omitted. Each upload
    counts with the last number measured: as in `view_growth`, snapshots without that number are
    ignored. An upload without any such snapshot counts as 0.
    Indexes: idx_pipeline_runs_status, ix_shorts_status, and idx_analytics_video twice per upload.
    """
    uploads = union_all(
        select(PipelineRun.niche, PipelineRun.youtube_video_id).where(
            PipelineRun.status == "uploaded"
        ),
        select(PipelineRun.niche, Short.youtube_video_id)
        .join(Short.pipeline_run)
        .where(Short.status == "uploaded"),
    ).cte("uploads")

    def total(number: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
        last = (
            select(number)
            .where(Analytics.youtube_video_id == uploads.c.youtube_video_id, number.is_not(None))
            .order_by(Analytics.measured_at.desc(), Analytics.id.desc())
            .limit(1)
            .correlate(uploads)
            .scalar_subquery()
        )
        return func.coalesce(func.sum(last), 0)

    return (
        select(
            uploads.c.niche,
            func.count().label("uploads"),
            # PostgreSQL's sum of a BIGINT is a NUMERIC.
            cast(total(Analytics.view_count), BigInteger).label("views"),
            cast(total(Analytics.estimated_revenue_usd), Float).label("revenue_usd"),
        )
        .group_by(uploads.c.niche)
        .order_by(uploads.c.niche)
    )


@_gives(select(ConfigOverride))
def config_overrides() -> Executable:
    """All settings changed at run time, by key. Index: the primary key; the table stays small."""
    return select(ConfigOverride).order_by(ConfigOverride.key)


@_gives(select(ErrorLog))
def unresolved_errors(module: str) -> Executable:
    """Unresolved errors of a module, newest first.

    Index: ix_error_logs_resolved_module_occurred_at.
    """
    return (
        select(ErrorLog)
        .where(ErrorLog.resolved == 0, ErrorLog.module == module)
        .order_by(ErrorLog.occurred_at.desc(), ErrorLog.id.desc())
    )


@_gives(select(ErrorLog.module, func.count().label("errors")))
def error_counts() -> Executable:
    """The number of unresolved errors of each module: rows of module and errors, by module.

    Index: ix_error_logs_resolved_module_occurred_at.
    """
    return (
        select(ErrorLog.module, func.count().label("errors"))
        .where(ErrorLog.resolved == 0)
        .group_by(ErrorLog.module)
        .order_by(ErrorLog.module)
    )
