"""Helpers for application code; also exports Base, the models and the vocabularies.

Helpers that change rows commit the session, including other unsaved changes in it. If a helper
fails, it rolls back and raises. Helpers log what they did, and failures at level ERROR, without
values of overrides and error messages, which may be secret. Every helper has an async counterpart
`NAME_async` that takes an async engine or session and runs the same code.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Required, TypedDict, TypeVar, Unpack

from sqlalchemy import insert, select
from sqlalchemy.util import greenlet_spawn

from shortsdb import models, queries
from shortsdb.engine import async_session_factory, session_factory
from shortsdb.engine.transactions import TrackedConnection, take_write_lock
from shortsdb.health import Health, check_db_health, check_db_health_async
from shortsdb.lifecycle import drop_db, init_db, init_db_async
from shortsdb.log import get_logger, logged
from shortsdb.models import *  # noqa: F403 - what applications import from here
from shortsdb.models import (
    OWN_TABLES,
    Base,
    ConfigOverride,
    DiscoveredVideo,
    ErrorLog,
)
from shortsdb.models.types import utcnow
from shortsdb.seed import EXAMPLE_END, channel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

log = get_logger(__name__)

# Execution options that refresh rows which the session has already loaded.
_AS_STORED = {"populate_existing": True}

P = ParamSpec("P")
T = TypeVar("T")

__all__ = [
    "Counts",
    "Health",
    "Snapshot",
    "check_db_health",
    "check_db_health_async",
    "delete_override",
    "delete_override_async",
    "drop_db",
    "drop_db_async",
    "get_override",
    "get_override_async",
    "get_pending_videos",
    "get_pending_videos_async",
    "get_session",
    "get_session_async",
    "init_db",
    "init_db_async",
    "log_error",
    "log_error_async",
    "mark_video_processed",
    "mark_video_processed_async",
    "record_snapshot",
    "record_snapshot_async",
    "record_snapshots",
    "record_snapshots_async",
    "resolve_error",
    "resolve_error_async",
    "seed_db",
    "seed_db_async",
    "set_override",
    "set_override_async",
]
__all__ += models.__all__


class Counts(TypedDict, total=False):
    """The counts that YouTube reports for a video; see `Analytics`. A missing count is stored NULL.

    Durations are in seconds, the revenue is in US dollars, and `click_through_rate` is from 0 to 1.
    `measured_at` is UTC, naive or aware; the default is the current time.
    """

    measured_at: datetime
    view_count: int | None
    like_count: int | None
    comment_count: int | None
    average_view_duration_seconds: float | None
    click_through_rate: float | None
    subscriber_gain: int | None
    estimated_revenue_usd: float | None


class Snapshot(Counts):
    """The counts that YouTube reports for the video `youtube_video_id`."""

    youtube_video_id: Required[str]


def get_session(engine: Engine) -> Session:
    """Return a session that may write; see `shortsdb.engine.session_factory` for others.

    It reads without a lock and takes the write lock at its first flush or writing statement.

    Unlike sessions of the other factories it does not autoflush: an incomplete object fails the
    commit and not the next query, and queries do not see changes that are not flushed.
    """
    return session_factory(engine)(autoflush=False)


def get_session_async(engine: AsyncEngine) -> AsyncSession:
    """Return an async session, see `get_session`; this function itself is not a coroutine."""
    return async_session_factory(engine)(autoflush=False)


@logged
def get_pending_videos(session: Session, niche: str) -> list[DiscoveredVideo]:
    """Return the undecided videos of a niche, best viral score first.

    Raises:
        ValueError: The niche is empty.
    """
    _require(niche=niche)
    videos = list(session.scalars(queries.pending_videos(niche)))
    log.info("%d videos of %r are pending", len(videos), niche)
    return videos


@logged
def mark_video_processed(session: Session, video_id: str, status: int) -> None:
    """Set the status of a video.

    Args:
        session: The session, which is committed.
        video_id: YouTube's id of the video.
        status: One of `Processed`: 0 pending, 1 used, 2 skipped, 3 rejected.

    Raises:
        ValueError: An argument is empty, or there is no such video.
    """
    _require(video_id=video_id, status=status)
    with _committed(session):
        statement = select(DiscoveredVideo).where(DiscoveredVideo.video_id == video_id)
        video = session.scalars(statement, execution_options=_AS_STORED).one_or_none()
        if video is None:
            raise ValueError(f"there is no video {video_id!r}")
        video.processed = status
    log.info("marked video %r as %s", video_id, status)


@logged
def log_error(  # noqa: PLR0913, PLR0917 - the arguments that deployed code gives
    session: Session,
    module: str,
    error_type: str,
    message: str,
    pipeline_run_id: int | None = None,
    stack_trace: str | None = None,
) -> None:
    """Store an error that occurred in a module.

    Roll back incomplete work first, because unsaved changes in the session are committed with the
    error. A session whose flush has failed is rolled back by this helper.

    Raises:
        ValueError: The module, the type or the message is empty.
        sqlalchemy.exc.IntegrityError: There is no such run.
    """
    _require(module=module, error_type=error_type, message=message)
    if not session.is_active:
        session.rollback()
    with _committed(session):
        session.add(
            ErrorLog(
                module=module,
                error_type=error_type,
                error_message=message,
                pipeline_run_id=pipeline_run_id,
                stack_trace=stack_trace,
            )
        )
    log.info("stored an error of %r: %s", module, error_type)


@logged
def resolve_error(session: Session, error_id: int) -> None:
    """Mark a stored error as resolved; one that is resolved already stays so.

    Raises:
        ValueError: There is no such error.
    """
    with _committed(session):
        error = session.get(ErrorLog, error_id, populate_existing=True)
        if error is None:
            raise ValueError(f"there is no error {error_id}")
        error.resolved = 1
    log.info("marked error %d as resolved", error_id)


@logged
def get_override(session: Session, key: str) -> str | None:
    """Return the value of a setting that was changed at run time, None if it was not.

    Raises:
        ValueError: The key is empty.
    """
    _require(key=key)
    # Select the column, because an object already in the session may be out of date.
    value = session.scalar(select(ConfigOverride.value).where(ConfigOverride.key == key))
    log.debug("setting %r %s", key, "is as deployed" if value is None else "has an override")
    return value


@logged
def set_override(session: Session, key: str, value: str, updated_by: str = "system") -> None:
    """Change a setting; the value may be an empty string.

    Raises:
        ValueError: `key` or `updated_by` is empty.
    """
    _require(key=key, updated_by=updated_by)
    with _committed(session):
        override = session.get(ConfigOverride, key, populate_existing=True)
        if override is None:
            override = ConfigOverride(key=key)
            session.add(override)
        override.value, override.updated_by, override.updated_at = value, updated_by, utcnow()
    log.info("setting %r was changed by %r", key, updated_by)


@logged
def delete_override(session: Session, key: str) -> bool:
    """Restore the deployed value of a setting, and return whether it had been changed.

    Raises:
        ValueError: The key is empty.
    """
    _require(key=key)
    with _committed(session):
        override = session.get(ConfigOverride, key, populate_existing=True)
        if override is not None:
            session.delete(override)
    log.info("setting %r %s", key, "is as deployed" if override is None else "was put back")
    return override is not None


def record_snapshot(session: Session, youtube_video_id: str, **counts: Unpack[Counts]) -> None:
    """Store the counts of a video as of now, or of `measured_at`.

    Raises:
        ValueError: `youtube_video_id` is empty, or there is no such count.
    """
    record_snapshots(session, [{"youtube_video_id": youtube_video_id, **counts}])


@logged
def record_snapshots(session: Session, snapshots: Iterable[Snapshot]) -> int:
    """Store many snapshots in one statement, all or none, and return their number.

    Raises:
        ValueError: A `youtube_video_id` is empty, or there is no such count.
    """
    defaults = dict.fromkeys(Counts.__annotations__) | {"measured_at": utcnow()}
    rows = []
    for snapshot in snapshots:
        _require(youtube_video_id=snapshot.get("youtube_video_id"))
        row = {**defaults, **snapshot}
        if len(row) > len(defaults) + 1:
            raise ValueError(f"no such counts: {', '.join(row.keys() - Snapshot.__annotations__)}")
        rows.append(row)
    if rows:
        with _committed(session):
            # Insert into the table, because ORM objects would not be used.
            session.execute(insert(Base.metadata.tables["analytics"]), rows)
    log.info("stored %d snapshots", len(rows))
    return len(rows)


@logged
def seed_db(session: Session, *, end: datetime = EXAMPLE_END, days: int = 2) -> None:
    """Fill an empty database with the sample data of a small channel, the same every time.

    Args:
        session: A session on the database.
        end: The present of the channel, naive UTC: times are relative to it, and none is later.
        days: How long the channel has existed, at least 2 days. Three weeks are about 14,000 rows.

    Raises:
        ValueError: A table of shortsdb has rows.
    """
    with _committed(session):
        for table in (Base.metadata.tables[name] for name in sorted(OWN_TABLES)):
            if session.scalar(select(select(table).exists())):
                raise ValueError(f"{table.name} has rows: only an empty database is seeded")
        session.add_all(channel(end, days))
    log.info("filled the database with a small channel")


def _require(**arguments: object) -> None:
    for name, value in arguments.items():
        if value is None or (isinstance(value, str) and not value.strip()):
            raise ValueError(f"{name} is empty")


@contextmanager
def _committed(session: Session) -> Iterator[None]:
    """Run the block with the write lock, so that rows it reads cannot change, and commit.

    Without this, an implicit transaction would take the lock only when it writes.
    """
    try:
        connection = session.connection()
        if isinstance(connection, TrackedConnection):  # the engine is one of shortsdb
            take_write_lock(connection)
        # Flush unsaved changes, so that refreshing rows does not lose them.
        session.flush()
        yield
        session.commit()
    except BaseException:
        session.rollback()
        raise


def _with_session(
    helper: Callable[Concatenate[Session, P], T],
) -> Callable[Concatenate[AsyncSession, P], Coroutine[Any, Any, T]]:
    @wraps(helper)
    async def counterpart(session: AsyncSession, /, *args: P.args, **options: P.kwargs) -> T:
        return await session.run_sync(helper, *args, **options)

    counterpart.__name__ += "_async"
    return counterpart


async def drop_db_async(
    engine: AsyncEngine, *, confirm: bool = False, confirm_again: bool = False
) -> None:
    """Do as `drop_db`."""
    await greenlet_spawn(drop_db, engine.sync_engine, confirm=confirm, confirm_again=confirm_again)


get_pending_videos_async = _with_session(get_pending_videos)
mark_video_processed_async = _with_session(mark_video_processed)
log_error_async = _with_session(log_error)
resolve_error_async = _with_session(resolve_error)
get_override_async = _with_session(get_override)
set_override_async = _with_session(set_override)
delete_override_async = _with_session(delete_override)
record_snapshot_async = _with_session(record_snapshot)
record_snapshots_async = _with_session(record_snapshots)
seed_db_async = _with_session(seed_db)
