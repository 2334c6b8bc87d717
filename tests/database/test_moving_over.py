"""A deployed application behaves the same after one import is changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import deployed_application
import deployed_models
import pytest
from inspect_sqlite import row_hashes, schema, version
from project import HEAD, ROOT

from shortsdb.database import check_db_health, init_db

APPLICATION = Path(deployed_application.__file__)


def run(script: Path, database: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "error", script, database],
        env={"PYTHONPATH": ":".join([str(APPLICATION.parent), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def moved_over(tmp_path: Path) -> Path:
    """Return the application with one import changed."""
    code = APPLICATION.read_text(encoding="utf-8")
    assert code.count("from deployed_models import (") == 1
    script = tmp_path / "moved_over.py"
    script.write_text(
        code.replace("from deployed_models import (", "from shortsdb.database import ("),
        encoding="utf-8",
    )
    return script


def test_the_models_of_the_application_create_the_deployed_schema(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    deployed_models.init_db(str(path)).dispose()
    expected = ROOT / "tests" / "assets" / "deployed_schema.sql"
    statements = expected.read_text(encoding="utf-8")
    normalised = " ".join(statements.split())
    for name, sql in schema(path).items():
        assert " ".join(sql.split()) in normalised, name


def test_the_application_behaves_the_same_on_a_new_file(tmp_path: Path, moved_over: Path) -> None:
    before = run(APPLICATION, tmp_path / "plain.db")
    after = run(moved_over, tmp_path / "ours.db")
    assert after == before
    assert before["runs"] == deployed_application.RUNS


def test_a_file_of_the_application_is_upgraded_in_place(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    run(APPLICATION, path)
    before = row_hashes(path)
    init_db(path).dispose()
    assert {table: row_hashes(path)[table] for table in before} == before
    assert version(path) == [HEAD]
    engine = init_db(path)
    assert check_db_health(engine).ok
    engine.dispose()


def test_old_and_new_application_share_a_file(tmp_path: Path, moved_over: Path) -> None:
    # The old process still runs when the new one starts, and each reads the other's rows.
    path = tmp_path / "x.db"
    run(APPLICATION, path)
    code = moved_over.read_text(encoding="utf-8").replace(
        'f"{niche}-{number}"', 'f"{niche}-new-{number}"'
    )
    moved_over.write_text(code.replace('"cats-0"', '"cats-new-0"'), encoding="utf-8")
    found = run(moved_over, path)
    assert found["runs"] == 2 * deployed_application.RUNS
    code = APPLICATION.read_text(encoding="utf-8").replace(
        'f"{niche}-{number}"', 'f"{niche}-old-{number}"'
    )
    old_again = tmp_path / "old_again.py"
    old_again.write_text(code.replace('"cats-0"', '"cats-old-0"'), encoding="utf-8")
    found = run(old_again, path)
    assert found["runs"] == 3 * deployed_application.RUNS
