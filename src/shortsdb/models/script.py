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

    Written by the script step, once per attempt: a reviewer's redo_script adds a row, and the
    latest `generated_at` is the one in use. `full_script` reads and writes `full_script_json` as
    Python objects; text that is assigned to the column itself is not checked.
    """

    __tablename__ = "scripts"

    id: Mapped[PrimaryKey]
    pipeline_run_id: Mapped[RunId]
    opening_text: Mapped[LongText | None]
    """What is spoken before the first clip."""
    closing_text: Mapped[LongText | None]
    """What is spoken after the last clip."""
    full_script_json: Mapped[LongText]
    """The whole script, meant to be JSON; see `full_script`."""
    total_char_count: Mapped[int]
    """Characters of the spoken text."""
    estimated_duration_seconds: Mapped[float]
    """How long speaking it should take."""
    llm_model_used: Mapped[LongText]
    """The model that wrote it."""
    generated_at: Mapped[CreatedAt]
    """When it was written; the latest of a run is the one in use."""

    pipeline_run: Mapped["PipelineRun"] = relationship(back_populates="scripts")

    @property
    def full_script(self) -> Any:  # noqa: ANN401 - JSON is what the LLM made of it
        """The script as Python objects.

        A change inside the returned object is not noticed: assign the whole again. Assigning keeps
        non-ASCII text as it is, and raises ValueError or TypeError for what JSON cannot hold.
        Reading raises `json.JSONDecodeError`, a ValueError, if the column holds other text than
        JSON, and TypeError if the row is new and nothing was assigned.
        """
        return json.loads(self.full_script_json)

    @full_script.setter
    def full_script(self, value: Any) -> None:  # noqa: ANN401 - as above
        self.full_script_json = json.dumps(value, ensure_ascii=False, allow_nan=False)
