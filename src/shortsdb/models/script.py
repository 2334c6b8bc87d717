"""The scripts table."""

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Mapped, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, LongText, PrimaryKey, RunId

if TYPE_CHECKING:
    from shortsdb.models.pipeline_run import PipelineRun


class Script(Base):
    """A narration script that the LLM wrote for a run.

    The script step adds one row per attempt: a reviewer's redo_script adds another, and the row
    with the latest `generated_at` is used. `full_script` reads and writes `full_script_json` as
    Python objects; text assigned to the column itself is not validated.
    """

    __tablename__ = "scripts"

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[RunId]
    opening_text: Mapped[LongText | None]
    """Text spoken before the first clip."""
    closing_text: Mapped[LongText | None]
    """Text spoken after the last clip."""
    full_script_json: Mapped[LongText]
    """The whole script, meant to be JSON; see `full_script`."""
    total_char_count: Mapped[int]
    """Characters of the spoken text."""
    estimated_duration_seconds: Mapped[float]
    """Estimated duration of the spoken text."""
    llm_model_used: Mapped[LongText]
    """The LLM that wrote the script."""
    generated_at: Mapped[CreatedAt]
    """When it was written; the latest script of a run is used."""

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="scripts")

    @property
    def full_script(self) -> Any:  # noqa: ANN401 - any JSON value
        """The script as Python objects.

        A change inside the returned object is not saved: assign the whole object again. Assigning
        keeps non-ASCII text, and raises ValueError or TypeError for values that JSON cannot
        represent. Reading raises `json.JSONDecodeError`, a ValueError, if the column does not hold
        JSON, and TypeError if the row is new and nothing was assigned.
        """
        return json.loads(self.full_script_json)

    @full_script.setter
    def full_script(self, value: Any) -> None:  # noqa: ANN401 - as above
        self.full_script_json = json.dumps(value, ensure_ascii=False, allow_nan=False)
