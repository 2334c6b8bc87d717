"""Repositories; `make generate` derives them from their async twins, _async.py."""

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
    from advanced_alchemy.repository import SQLAlchemySyncRepository

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


class DiscoveredVideoRepository(SQLAlchemySyncRepository[DiscoveredVideo]):
    """The discovered videos."""

    model_type = DiscoveredVideo

    def pending(self, niche: str) -> list[DiscoveredVideo]:
        """See `queries.pending_videos`."""
        return list(self.session.scalars(queries.pending_videos(niche)))


class PipelineRunRepository(SQLAlchemySyncRepository[PipelineRun]):
    """The runs."""

    model_type = PipelineRun

    def by_status(self, status: str) -> list[PipelineRun]:
        """See `queries.runs_by_status`."""
        return list(self.session.scalars(queries.runs_by_status(status)))

    def with_everything(self, run_id: int) -> PipelineRun | None:
        """See `queries.run_with_everything`."""
        return self.session.scalars(queries.run_with_everything(run_id)).first()

    def niche_totals(self) -> dict[str, tuple[int, int, float]]:
        """Uploads, views and revenue (US dollars) by niche, see `queries.niche_totals`."""
        rows = self.session.execute(queries.niche_totals())
        return {row[0]: (row[1], row[2], row[3]) for row in rows}


class ClipRepository(SQLAlchemySyncRepository[Clip]):
    """The clips."""

    model_type = Clip


class ScriptRepository(SQLAlchemySyncRepository[Script]):
    """The scripts."""

    model_type = Script

    def latest(self, run_id: int) -> Script | None:
        """See `queries.latest_script`."""
        return self.session.scalars(queries.latest_script(run_id)).first()


class TTSAudioRepository(SQLAlchemySyncRepository[TTSAudio]):
    """The narrations."""

    model_type = TTSAudio

    def latest(self, run_id: int) -> TTSAudio | None:
        """See `queries.latest_audio`."""
        return self.session.scalars(queries.latest_audio(run_id)).first()


class ShortRepository(SQLAlchemySyncRepository[Short]):
    """The Shorts."""

    model_type = Short

    def by_status(self, status: str) -> list[Short]:
        """See `queries.shorts_by_status`."""
        return list(self.session.scalars(queries.shorts_by_status(status)))


class AnalyticsRepository(SQLAlchemySyncRepository[Analytics]):
    """The snapshots."""

    model_type = Analytics

    def latest(self, youtube_video_id: str) -> Analytics | None:
        """See `queries.latest_snapshot`."""
        return self.session.scalars(queries.latest_snapshot(youtube_video_id)).first()

    def latest_of_each(self, youtube_video_ids: Collection[str]) -> list[Analytics]:
        """See `queries.latest_snapshots`."""
        return list(self.session.scalars(queries.latest_snapshots(youtube_video_ids)))

    def view_growth(self, youtube_video_id: str, start: datetime, end: datetime) -> int | None:
        """See `queries.view_growth`."""
        return self.session.scalars(queries.view_growth(youtube_video_id, start, end)).first()


class ReviewLogRepository(SQLAlchemySyncRepository[ReviewLog]):
    """The reviews."""

    model_type = ReviewLog

    def open(self) -> list[ReviewLog]:
        """See `queries.open_reviews`."""
        return list(self.session.scalars(queries.open_reviews()))

    def overdue(self, sent_before: datetime) -> list[ReviewLog]:
        """See `queries.overdue_reviews`."""
        return list(self.session.scalars(queries.overdue_reviews(sent_before)))


class ConfigOverrideRepository(SQLAlchemySyncRepository[ConfigOverride]):
    """The overrides."""

    model_type = ConfigOverride
    id_attribute = "key"

    def put(self, key: str, value: str, updated_by: str = "system") -> ConfigOverride:
        """Insert or update the override of a setting."""
        override = ConfigOverride(key=key, value=value, updated_by=updated_by)
        return self.upsert(override)


class ErrorLogRepository(SQLAlchemySyncRepository[ErrorLog]):
    """The errors."""

    model_type = ErrorLog

    def unresolved(self, module: str) -> list[ErrorLog]:
        """See `queries.unresolved_errors`."""
        return list(self.session.scalars(queries.unresolved_errors(module)))

    def counts(self) -> dict[str, int]:
        """See `queries.error_counts`."""
        rows = self.session.execute(queries.error_counts())
        return {row[0]: row[1] for row in rows}
