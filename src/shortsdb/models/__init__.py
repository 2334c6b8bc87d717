"""The tables as SQLAlchemy models, and enums for the values of their state columns.

This package does not read or write databases.
"""

from shortsdb.models.analytics import Analytics
from shortsdb.models.base import Base
from shortsdb.models.clip import Clip
from shortsdb.models.config_override import ConfigOverride
from shortsdb.models.discovered_video import DiscoveredVideo
from shortsdb.models.error_log import ErrorLog
from shortsdb.models.pipeline_run import PipelineRun
from shortsdb.models.review_log import ReviewLog
from shortsdb.models.script import Script
from shortsdb.models.short import Short
from shortsdb.models.tts_audio import TTSAudio
from shortsdb.models.vocabularies import (
    ContentIdRisk,
    Processed,
    ReviewAction,
    RunStatus,
    ShortStatus,
)

__all__ = [
    "OWN_TABLES",
    "Analytics",
    "Base",
    "Clip",
    "ConfigOverride",
    "ContentIdRisk",
    "DiscoveredVideo",
    "ErrorLog",
    "PipelineRun",
    "Processed",
    "ReviewAction",
    "ReviewLog",
    "RunStatus",
    "Script",
    "Short",
    "ShortStatus",
    "TTSAudio",
    "metadata",
]

metadata = Base.metadata
"""The schema of the models, for Alembic and for create_all."""

OWN_TABLES = frozenset(metadata.tables)
"""The names of these tables; an application may declare others on `Base`."""
