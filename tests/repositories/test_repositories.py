"""Repositories: advanced-alchemy's methods and errors on our models, and the queries."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from inspect import isclass
from typing import TYPE_CHECKING, Any

import pytest
from advanced_alchemy.exceptions import DuplicateKeyError, ForeignKeyError, NotFoundError
from advanced_alchemy.filters import CollectionFilter, LimitOffset, OrderBy, SearchFilter

from shortsdb import queries, repositories
from shortsdb.database import get_session, get_session_async, seed_db
from shortsdb.database import seed_db_async as seed_async
from shortsdb.engine import create_async_engine, create_engine
from shortsdb.models import (
    Analytics,
    Base,
    ConfigOverride,
    DiscoveredVideo,
    PipelineRun,
    Short,
)
from shortsdb.repositories import (
    AnalyticsRepository,
    AsyncAnalyticsRepository,
    AsyncConfigOverrideRepository,
    AsyncDiscoveredVideoRepository,
    AsyncErrorLogRepository,
    AsyncPipelineRunRepository,
    AsyncReviewLogRepository,
    AsyncScriptRepository,
    AsyncShortRepository,
    AsyncTTSAudioRepository,
    ConfigOverrideRepository,
    DiscoveredVideoRepository,
    ErrorLogRepository,
    PipelineRunRepository,
    ReviewLogRepository,
    ScriptRepository,
    ShortRepository,
    TTSAudioRepository,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from project import NewUrl
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

NOON = datetime(2026, 1, 7, 12)  # noqa: DTZ001 - the models hold naive UTC
DAYS = timedelta(days=30)


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    """Return a session on the small channel."""
    engine = create_engine(url)
    with get_session(engine) as session:
        seed_db(session)
        yield session
    engine.dispose()


def a_video(video_id: str) -> DiscoveredVideo:
    return DiscoveredVideo(
        video_id=video_id, title="t", channel_name="c", channel_id="c", url="u", niche="n"
    )


def test_every_model_has_a_sync_and_an_async_repository() -> None:
    classes: dict[str, Any] = {
        name: vars(item)["model_type"] for name, item in vars(repositories).items() if isclass(item)
    }
    models = {model.__name__: model for model in Base.__subclasses__()}
    assert classes == {
        f"{prefix}{name}Repository": model
        for name, model in models.items()
        for prefix in ("", "Async")
    }


def test_add_get_update_and_delete(session: Session) -> None:
    videos = DiscoveredVideoRepository(session=session)
    video = videos.add(a_video("v"), auto_commit=True)
    assert videos.get(video.id).video_id == "v"
    videos.update(DiscoveredVideo(id=video.id, title="new"), auto_commit=True)
    assert videos.get_one(video_id="v").to_dict() | {"title": "new"} == video.to_dict()
    videos.delete(video.id, auto_commit=True)
    with pytest.raises(NotFoundError):
        videos.get(video.id)


def test_paging_and_filters(session: Session) -> None:
    videos = DiscoveredVideoRepository(session=session)
    page, total = videos.get_many_and_count(
        CollectionFilter("niche", ["cats"]),
        SearchFilter("title", "the bus"),
        OrderBy("viral_score", "desc"),
        LimitOffset(limit=3, offset=2),
    )
    waiting = [v for v in videos.get_many(niche="cats") if v.title.endswith("the bus")]
    waiting.sort(key=lambda video: video.viral_score or 0.0, reverse=True)
    assert page == waiting[2:5]
    assert total == len(waiting) == 7


def test_bulk_insert(session: Session) -> None:
    snapshots = AnalyticsRepository(session=session)
    snapshots.add_many([Analytics(youtube_video_id="bulk", view_count=n) for n in range(500)])
    assert snapshots.count(youtube_video_id="bulk") == 500


def test_upserts(session: Session) -> None:
    overrides = ConfigOverrideRepository(session=session)
    first = overrides.put("volume", "1")
    session.commit()
    made = first.updated_at
    again = overrides.put("volume", "2", updated_by="telegram")
    session.commit()
    assert (again.value, again.updated_by) == ("2", "telegram")
    assert again.updated_at > made
    overrides.upsert_many(
        [ConfigOverride(key="volume", value="3"), ConfigOverride(key="speed", value="1")]
    )
    session.commit()
    values = {override.key: override.value for override in overrides.get_many()}
    assert values == {
        "volume": "3",
        "speed": "1",
        "clips_per_run": "4",
        "review_timeout_minutes": "2880",
    }


def test_duplicates_and_violated_keys_raise_the_librarys_errors(session: Session) -> None:
    videos, shorts = DiscoveredVideoRepository(session=session), ShortRepository(session=session)
    videos.add(a_video("v"), auto_commit=True)
    with pytest.raises(DuplicateKeyError):
        videos.add(a_video("v"), auto_commit=True)
    session.rollback()
    with pytest.raises(ForeignKeyError):
        shorts.add(Short(pipeline_run_id=10**6), auto_commit=True)
    session.rollback()
    with pytest.raises(DuplicateKeyError):
        videos.add_many([a_video("w"), a_video("w")], auto_commit=True)


def answers(session: Session) -> dict[str, Any]:
    """Ask the repositories every question."""
    runs = PipelineRunRepository(session=session)
    run_id = runs.by_status("uploaded")[-1].id
    run = runs.with_everything(run_id)
    assert run is not None
    snapshots = AnalyticsRepository(session=session)
    errors = ErrorLogRepository(session=session)
    reviews = ReviewLogRepository(session=session)
    video = str(run.youtube_video_id)
    return {
        "pending": DiscoveredVideoRepository(session=session).pending("cats"),
        "run": [run, *run.clips, *run.shorts],
        "nothing": runs.with_everything(10**6),
        "totals": runs.niche_totals(),
        "script": ScriptRepository(session=session).latest(run_id),
        "audio": TTSAudioRepository(session=session).latest(run_id),
        "shorts": ShortRepository(session=session).by_status("uploaded"),
        "latest": snapshots.latest(video),
        "each": snapshots.latest_of_each([video, "none"]),
        "growth": snapshots.view_growth(video, NOON - DAYS, NOON + DAYS),
        "open": reviews.open(),
        "overdue": reviews.overdue(NOON + DAYS),
        "errors": errors.unresolved("render"),
        "counts": errors.counts(),
    }


async def answers_async(session: AsyncSession) -> dict[str, Any]:
    """Ask the async repositories every question."""
    runs = AsyncPipelineRunRepository(session=session)
    run_id = (await runs.by_status("uploaded"))[-1].id
    run = await runs.with_everything(run_id)
    assert run is not None
    snapshots = AsyncAnalyticsRepository(session=session)
    errors = AsyncErrorLogRepository(session=session)
    reviews = AsyncReviewLogRepository(session=session)
    video = str(run.youtube_video_id)
    return {
        "pending": await AsyncDiscoveredVideoRepository(session=session).pending("cats"),
        "run": [run, *run.clips, *run.shorts],
        "nothing": await runs.with_everything(10**6),
        "totals": await runs.niche_totals(),
        "script": await AsyncScriptRepository(session=session).latest(run_id),
        "audio": await AsyncTTSAudioRepository(session=session).latest(run_id),
        "shorts": await AsyncShortRepository(session=session).by_status("uploaded"),
        "latest": await snapshots.latest(video),
        "each": await snapshots.latest_of_each([video, "none"]),
        "growth": await snapshots.view_growth(video, NOON - DAYS, NOON + DAYS),
        "open": await reviews.open(),
        "overdue": await reviews.overdue(NOON + DAYS),
        "errors": await errors.unresolved("render"),
        "counts": await errors.counts(),
    }


def flat(answer: Any) -> Any:  # noqa: ANN401 - of any question
    if isinstance(answer, list):
        return [flat(item) for item in answer]
    return answer.to_dict() if isinstance(answer, Base) else answer


def test_queries_are_methods_and_sync_and_async_agree(session: Session, new_url: NewUrl) -> None:
    async def main() -> dict[str, Any]:
        engine = create_async_engine(new_url())
        async with get_session_async(engine) as other:
            await seed_async(other)
            found = flatten(await answers_async(other))
        await engine.dispose()
        return found

    def flatten(found: dict[str, Any]) -> dict[str, Any]:
        return {name: flat(answer) for name, answer in found.items()}

    found = answers(session)
    assert found["pending"] == session.scalars(queries.pending_videos("cats")).all()
    assert found["nothing"] is None
    assert found["counts"] == {"analytics": 2, "render": 1}
    assert found["open"] == found["overdue"] != []
    assert found["totals"]["cats"][0] == 15
    assert found["growth"] > 0
    assert all(found[name] for name in found if name != "nothing")
    assert flatten(found) == asyncio.run(main())


def test_async_crud_upsert_and_errors(url: str) -> None:
    async def main() -> None:
        engine = create_async_engine(url)
        async with get_session_async(engine) as session:
            overrides = AsyncConfigOverrideRepository(session=session)
            await overrides.put("volume", "1")
            await overrides.put("volume", "2")
            await session.commit()
            assert (await overrides.get("volume")).value == "2"
            runs = AsyncPipelineRunRepository(session=session)
            run = PipelineRun(niche="n", cycle_start=NOON, cycle_end=NOON)
            await runs.add(run, auto_commit=True)
            page, total = await runs.get_many_and_count(LimitOffset(limit=1, offset=0))
            assert (page, total) == ([run], 1)
            with pytest.raises(ForeignKeyError):
                await AsyncShortRepository(session=session).add(Short(pipeline_run_id=10**6))
            await session.rollback()
            videos = AsyncDiscoveredVideoRepository(session=session)
            await videos.add(a_video("v"), auto_commit=True)
            with pytest.raises(DuplicateKeyError):
                await videos.add(a_video("v"), auto_commit=True)
        await engine.dispose()

    asyncio.run(main())
