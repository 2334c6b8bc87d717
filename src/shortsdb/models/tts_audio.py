"""The tts_audio table."""

from typing import TYPE_CHECKING

from sqlalchemy.orm import Mapped, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, PrimaryKey, RunId

if TYPE_CHECKING:
    from shortsdb.models.pipeline_run import PipelineRun


class TTSAudio(Base):
    """The narration of a run, spoken by a TTS engine.

    The speech step adds one row per attempt; the row with the latest `generated_at` is used. The
    path and the duration are NULL if the engine returned nothing.
    """

    __tablename__ = "tts_audio"

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[RunId]
    engine_used: Mapped[str]
    """The TTS engine."""
    voice_profile: Mapped[str | None]
    """The engine's name for the voice."""
    audio_file_path: Mapped[str | None]
    """The file of the narration."""
    duration_seconds: Mapped[float | None]
    """Length of the narration."""
    generated_at: Mapped[CreatedAt]
    """When it was generated; the latest narration of a run is used."""

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="tts_audio")
