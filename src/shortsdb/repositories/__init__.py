"""Repositories over the models, sync and async, by advanced-alchemy (extra: repositories).

    with get_session(engine) as session:
        shorts = ShortRepository(session=session)
        short = shorts.add(Short(pipeline_run_id=1))
        waiting = shorts.by_status("pending")
        session.commit()

Each has that library's methods (`add`, `add_many`, `get`, `update`, `upsert`, `delete`, filters and
paging, …) and errors (DuplicateKeyError, ForeignKeyError, NotFoundError), and methods for the
queries of `shortsdb.queries` about its model. To commit, pass `auto_commit=True` or commit the
session.
"""

from shortsdb.repositories._async import (
    AsyncAnalyticsRepository,
    AsyncClipRepository,
    AsyncConfigOverrideRepository,
    AsyncDiscoveredVideoRepository,
    AsyncErrorLogRepository,
    AsyncPipelineRunRepository,
    AsyncReviewLogRepository,
    AsyncScriptRepository,
    AsyncShortRepository,
    AsyncTTSAudioRepository,
)
from shortsdb.repositories._sync import (
    AnalyticsRepository,
    ClipRepository,
    ConfigOverrideRepository,
    DiscoveredVideoRepository,
    ErrorLogRepository,
    PipelineRunRepository,
    ReviewLogRepository,
    ScriptRepository,
    ShortRepository,
    TTSAudioRepository,
)

__all__ = [
    "AnalyticsRepository",
    "AsyncAnalyticsRepository",
    "AsyncClipRepository",
    "AsyncConfigOverrideRepository",
    "AsyncDiscoveredVideoRepository",
    "AsyncErrorLogRepository",
    "AsyncPipelineRunRepository",
    "AsyncReviewLogRepository",
    "AsyncScriptRepository",
    "AsyncShortRepository",
    "AsyncTTSAudioRepository",
    "ClipRepository",
    "ConfigOverrideRepository",
    "DiscoveredVideoRepository",
    "ErrorLogRepository",
    "PipelineRunRepository",
    "ReviewLogRepository",
    "ScriptRepository",
    "ShortRepository",
    "TTSAudioRepository",
]
