"""The tts_audio table."""

from typing import TYPE_CHECKING

from sqlalchemy.orm import Mapped, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, PrimaryKey, RunId

if TYPE_CHECKING:
    from shortsdb.models.pipeline_run import PipelineRun


class TTSAudio(Base):
    """The narration of a run as spoken by a TTS engine.

    Written by the speech step, once per attempt; the latest `generated_at` is the one in use. The
    path and the duration are NULL when the engine gave nothing.
    """

    __tablename__ = "tts_audio"

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[RunId]
    engine_used: Mapped[str]
    voice_profile: Mapped[str | None]
    audio_file_path: Mapped[str | None]
    duration_seconds: Mapped[float | None]
    generated_at: Mapped[CreatedAt]

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="tts_audio")
