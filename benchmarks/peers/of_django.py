"""Django's ORM, with its default settings or those that its page on SQLite gives."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from measure import HERE

from peers import COUNTER, UNDER_A_RUN, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class Peer:
    """See `peers.Peer`."""

    def __init__(self, path: str) -> None:
        """Set Django up, once in a process."""
        os.environ |= {"BENCHMARK_DATABASE": path, "DJANGO_SETTINGS_MODULE": "project_settings"}
        sys.path.append(str(HERE / "django_project"))
        import django  # noqa: PLC0415 - needs the environment

        django.setup()
        from deployed_tables.models import PipelineRun  # noqa: PLC0415 - as above
        from new_tables.models import Analytics, ConfigOverride  # noqa: PLC0415 - as above

        self.runs: Any = PipelineRun.objects
        self.analytics: Any = Analytics
        self.overrides: Any = ConfigOverride.objects

    def increment(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`."""
        from django.db import transaction  # noqa: PLC0415 - as above

        with transaction.atomic():
            row = self.overrides.get(key=key)
            time.sleep(think)
            row.value = str(int(row.value) + 1)
            # As SQLAlchemy does: the columns that changed.
            row.save(update_fields=["value", "updated_at"])

    async def increment_async(self, key: str = COUNTER, think: float = 0) -> None:
        """See `peers.Counting`.

        As https://docs.djangoproject.com/en/5.2/topics/async/ has it: transactions do not work in
        async mode; what needs one is a sync function.
        """
        from asgiref.sync import sync_to_async  # noqa: PLC0415 - as above

        await sync_to_async(self.increment)(key, think)

    async def close_async(self) -> None:
        """See `peers.Counting`."""

    def insert(self, snapshots: Sequence[dict[str, Any]]) -> None:
        """See `peers.Peer`."""
        self.analytics.objects.bulk_create([self.analytics(**row) for row in snapshots])

    def objects(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        return len(list(self.analytics.objects.filter(id__gte=first, id__lte=last)))

    def rows(self, first: int, last: int) -> int:
        """See `peers.Peer`."""
        return len(list(self.analytics.objects.filter(id__gte=first, id__lte=last).values_list()))

    def latest(self, video: str) -> int | None:
        """See `peers.Peer`."""
        of_video = self.analytics.objects.filter(youtube_video_id=video)
        return int(of_video.order_by("-measured_at", "-id").first().view_count)

    def latest_of(self, videos: Sequence[str]) -> int:
        """See `peers.Peer`; by a window function, which Django can filter by."""
        from django.db.models import F, Window  # noqa: PLC0415 - as above
        from django.db.models.functions import RowNumber  # noqa: PLC0415 - as above

        newest_first = Window(
            RowNumber(),
            partition_by=F("youtube_video_id"),
            order_by=[F("measured_at").desc(), F("id").desc()],
        )
        of_videos = self.analytics.objects.filter(youtube_video_id__in=videos)
        latest = of_videos.annotate(place=newest_first).filter(place=1)
        return sum(snapshot.view_count for snapshot in latest)

    def whole_run(self, run_id: int) -> int:
        """See `peers.Peer`."""
        everything = (f"{name}__{other}" if other else name for name, other in UNDER_A_RUN.items())
        run = self.runs.prefetch_related(*everything).get(id=run_id)
        return rows_of({name: getattr(run, name).all() for name in UNDER_A_RUN})
