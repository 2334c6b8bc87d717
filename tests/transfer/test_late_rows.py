"""Rows written to the source during a copy are not copied, and a warning reports them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import legacy_database
import pytest
from inspect_sqlite import execute

from shortsdb.transfer import copy
from shortsdb.transfer.late import late_changes
from shortsdb.transfer.postgresql import Postgres
from shortsdb.transfer.sqlite import Sqlite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postgresql_server import Database

MORE = "INSERT INTO config_overrides (key, value) VALUES ('late', '1'), ('later', '2')"
LESS = "DELETE FROM analytics WHERE id = 1"
OTHER = "UPDATE discovered_videos SET processed = 3 WHERE id = 1"
NOTHING = "SELECT 1"


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, side: type[Postgres | Sqlite], change: Callable[[], object]
) -> None:
    """Change the source when the rows are written, and before the copy is complete."""
    finish = side.finish

    def late(self: Any) -> None:  # noqa: ANN401 - one of two
        finish(self)
        change()

    monkeypatch.setattr(side, "finish", late)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and "Stop what writes" in record.getMessage()
    ]


@pytest.mark.parametrize(
    "case",
    [
        (NOTHING, None),
        (MORE, "is without that: config_overrides +2 rows. Stop"),
        (f"{LESS}; {MORE}", "config_overrides +2 rows"),
        (OTHER, "the number of rows is the same. Stop"),
    ],
)
def test_rows_written_to_a_file_during_the_copy_are_reported(
    full_file: Path,
    target: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    case: tuple[str, str | None],
) -> None:
    script, late = case
    meanwhile(monkeypatch, Postgres, lambda: execute(full_file, script))
    verified = {table.table: table.rows for table in copy(str(full_file), target.url)}
    found = warnings(caplog)
    assert len(found) == (late is not None)
    if late:
        assert found[0].startswith(f"{full_file} was written to while it was copied")
        assert late in found[0]
    if LESS in script:
        assert "analytics -1 rows" in found[0]
    there = target.psql("SELECT count(*) FROM config_overrides")
    assert there == f"{verified['config_overrides']}\n"


def test_skipped_rows_do_not_count_as_late(
    full_file: Path, target: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    execute(full_file, "UPDATE tts_audio SET duration_seconds = 'long' WHERE id = 1")
    copy(str(full_file), target.url, tmp_path / "left-out.jsonl")
    assert warnings(caplog) == []


def test_a_file_of_an_older_revision(
    target: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = legacy_database.make(tmp_path / "deployed.db")
    meanwhile(monkeypatch, Postgres, lambda: execute(file, "DELETE FROM clips WHERE id = 1"))
    copy(str(file), target.url)
    (found,) = warnings(caplog)
    assert "is without that: clips -1 rows. Stop" in found


def test_rows_written_to_a_server_during_the_copy_are_reported(
    full_file: Path,
    target: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    copy(str(full_file), target.url)
    copy(target.url, str(tmp_path / "first.db"))
    assert warnings(caplog) == []
    meanwhile(monkeypatch, Sqlite, lambda: target.psql(MORE))
    copy(target.url, str(tmp_path / "second.db"))
    (found,) = warnings(caplog)
    assert "is without that: config_overrides +2 rows. Stop" in found


def test_in_words() -> None:
    assert late_changes({"a": 1}, {"a": 1}, written_to=False) is None
    assert late_changes({"a": 1, "b": 2}, {"a": 1}, written_to=False) is None
    late = late_changes({"a": 1}, {"a": 1}, written_to=True)
    assert str(late).endswith("may be without that; the number of rows is the same")
    late = late_changes({"a": 1_000, "b": 2}, {"a": 3_000, "b": 1}, written_to=False)
    assert str(late).endswith("without that: a +2,000 rows, b -1 rows")
