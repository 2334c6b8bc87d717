"""Repositories for asyncio; `make generate` derives their sync twins, _sync.py, from this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shortsdb import queries
from shortsdb.extras import extra
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

with extra("repositories", "advanced_alchemy"):
    from advanced_alchemy.repository import SQLAlchemyAsyncRepository

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


class AsyncDiscoveredVideoRepository(SQLAlchemyAsyncRepository[DiscoveredVideo]):
    """The discovered videos, for asyncio."""

    model_type = DiscoveredVideo

    async def pending(self, niche: str) -> list[DiscoveredVideo]:
        """See `queries.pending_videos`."""
        return list(await self.session.scalars(queries.pending_videos(niche)))


class AsyncPipelineRunRepository(SQLAlchemyAsyncRepository[PipelineRun]):
    """The runs, for asyncio."""

    model_type = PipelineRun

    async def by_status(self, status: str) -> list[PipelineRun]:
        """See `queries.runs_by_status`."""
        return list(await self.session.scalars(queries.runs_by_status(status)))

    async def with_everything(self, run_id: int) -> PipelineRun | None:
        """See `queries.run_with_everything`."""
        return (await self.session.scalars(queries.run_with_everything(run_id))).first()

    async def niche_totals(self) -> dict[str, tuple[int, int, float]]:
        """Uploads, views and revenue (US dollars) by niche, see `queries.niche_totals`."""
        rows = await self.session.execute(queries.niche_totals())
        return {row[0]: (row[1], row[2], row[3]) for row in rows}


class AsyncClipRepository(SQLAlchemyAsyncRepository[Clip]):
    """The clips, for asyncio."""

    model_type = Clip


class AsyncScriptRepository(SQLAlchemyAsyncRepository[Script]):
    """The scripts, for asyncio."""

    model_type = Script

    async def latest(self, run_id: int) -> Script | None:
        """See `queries.latest_script`."""
        return (await self.session.scalars(queries.latest_script(run_id))).first()


class AsyncTTSAudioRepository(SQLAlchemyAsyncRepository[TTSAudio]):
    """The narrations, for asyncio."""

    model_type = TTSAudio

    async def latest(self, run_id: int) -> TTSAudio | None:
        """See `queries.latest_audio`."""
        return (await self.session.scalars(queries.latest_audio(run_id))).first()


class AsyncShortRepository(SQLAlchemyAsyncRepository[Short]):
    """The Shorts, for asyncio."""

    model_type = Short

    async def by_status(self, status: str) -> list[Short]:
        """See `queries.shorts_by_status`."""
        return list(await self.session.scalars(queries.shorts_by_status(status)))


class AsyncAnalyticsRepository(SQLAlchemyAsyncRepository[Analytics]):
    """The snapshots, for asyncio."""

    model_type = Analytics

    async def latest(self, youtube_video_id: str) -> Analytics | None:
        """See `queries.latest_snapshot`."""
        return (await self.session.scalars(queries.latest_snapshot(youtube_video_id))).first()

    async def latest_of_each(self, youtube_video_ids: Collection[str]) -> list[Analytics]:
        """See `queries.latest_snapshots`."""
        return list(await self.session.scalars(queries.latest_snapshots(youtube_video_ids)))

    async def view_growth(
        self, youtube_video_id: str, start: datetime, end: datetime
    ) -> int | None:
        """See `queries.view_growth`."""
        return (
            await self.session.scalars(queries.view_growth(youtube_video_id, start, end))
        ).first()


class AsyncReviewLogRepository(SQLAlchemyAsyncRepository[ReviewLog]):
    """The reviews, for asyncio."""

    model_type = ReviewLog

    async def open(self) -> list[ReviewLog]:
        """See `queries.open_reviews`."""
        return list(await self.session.scalars(queries.open_reviews()))

    async def overdue(self, sent_before: datetime) -> list[ReviewLog]:
        """See `queries.overdue_reviews`."""
        return list(await self.session.scalars(queries.overdue_reviews(sent_before)))


class AsyncConfigOverrideRepository(SQLAlchemyAsyncRepository[ConfigOverride]):
    """The overrides, for asyncio."""

    model_type = ConfigOverride
    id_attribute = "key"

    async def put(self, key: str, value: str, updated_by: str = "system") -> ConfigOverride:
        """Insert or update the override of a setting."""
        override = ConfigOverride(key=key, value=value, updated_by=updated_by)
        return await self.upsert(override)


class AsyncErrorLogRepository(SQLAlchemyAsyncRepository[ErrorLog]):
    """The errors, for asyncio."""

    model_type = ErrorLog

    async def unresolved(self, module: str) -> list[ErrorLog]:
        """See `queries.unresolved_errors`."""
        return list(await self.session.scalars(queries.unresolved_errors(module)))

    async def counts(self) -> dict[str, int]:
        """See `queries.error_counts`."""
        rows = await self.session.execute(queries.error_counts())
        return {row[0]: row[1] for row in rows}
