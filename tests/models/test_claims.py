"""The docstring of Script.full_script is true."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.orm import Session

from shortsdb.models import PipelineRun, Script
from shortsdb.models.types import utcnow

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_invalid_json_is_stored_and_full_script_raises(engine: Engine) -> None:
    script = Script(
        pipeline_run=PipelineRun(niche="cats", cycle_start=utcnow(), cycle_end=utcnow()),
        full_script_json="not JSON",
        total_char_count=0,
        estimated_duration_seconds=0.0,
        llm_model_used="",
    )
    with pytest.raises(json.JSONDecodeError):
        _ = script.full_script
    with pytest.raises(TypeError):
        _ = Script().full_script
    with Session(engine) as session:
        session.add(script)
        session.commit()
        assert script.full_script_json == "not JSON"
