"""json.dumps accepts to_dict(mode="json") of every row."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import legacy_database
import pytest
from sample_rows import fill_new_tables
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

from shortsdb.database import get_session, init_db
from shortsdb.models import Analytics, Base, ConfigOverride, PipelineRun, RunStatus

if TYPE_CHECKING:
    from pathlib import Path

MODELS = [mapper.class_ for mapper in Base.registry.mappers]


@pytest.fixture
def full_file(tmp_path: Path) -> Path:
    """Return a file at head with rows in all tables, the values that are lost most easily."""
    path = legacy_database.make(tmp_path / "full.db")
    init_db(path).dispose()
    fill_new_tables(path)
    return path


def test_every_row_of_every_table_is_json(full_file: Path) -> None:
    engine = init_db(full_file)
    with get_session(engine) as session:
        seen = []
        for model in MODELS:
            for row in session.scalars(select(model)):
                as_json = row.to_dict(mode="json")
                plain = row.to_dict()
                assert as_json.keys() == plain.keys()
                back = json.loads(json.dumps(as_json, allow_nan=False))
                assert back == as_json
                for key, value in plain.items():
                    if isinstance(value, datetime):
                        assert datetime.fromisoformat(back[key]) == value.replace(tzinfo=UTC)
                        assert back[key].endswith("Z")
                    elif value in {float("inf"), float("-inf")}:
                        assert back[key] is None
                        seen.append(value)
                    else:
                        assert back[key] == value
        assert float("inf") in seen
    engine.dispose()


def test_bytes_that_sqlite_holds_become_text(head_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "bytes.db"
    shutil.copy(head_file, path)
    engine = create_engine(f"sqlite:///{path}")
    with Session(engine) as session:
        session.execute(text("INSERT INTO config_overrides (key, value) VALUES ('k', x'C3A9FF00')"))
        override = session.get_one(ConfigOverride, "k")
        assert override.to_dict()["value"] == b"\xc3\xa9\xff\x00"
        assert override.to_dict(mode="json")["value"] == "é\\xff\x00"
    engine.dispose()


def test_unsaved_rows_are_json_too() -> None:
    east = datetime(2026, 5, 6, 14, tzinfo=timezone(timedelta(hours=2)))
    day: Any = date(2026, 5, 6)
    run = PipelineRun(niche="cats", status=RunStatus.FAILED, cycle_start=east, cycle_end=day)
    as_json = json.loads(json.dumps(run.to_dict(mode="json")))
    assert as_json["cycle_start"] == "2026-05-06T12:00:00Z"
    assert as_json["cycle_end"] == "2026-05-06T00:00:00Z"
    assert (as_json["status"], as_json["retry_count"]) == ("failed", None)
    few = Analytics(youtube_video_id="a", click_through_rate=float("nan"))
    assert few.to_dict({"id"}, mode="json") == {"youtube_video_id": "a", "click_through_rate": None}
