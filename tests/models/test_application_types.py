"""A small application passes `mypy --strict`, and runs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from project import HELPERS

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Server

APPLICATION = HELPERS / "small_application.py"


def mypy(script: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Check a script as its author would, without the configuration of this project."""
    options = ["--strict", "--config-file=", f"--cache-dir={cache}"]
    return subprocess.run(
        [sys.executable, "-m", "mypy", *options, script],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_application_passes_mypy_and_runs(tmp_path: Path, postgres: Server) -> None:
    checked = mypy(APPLICATION, tmp_path / "cache")
    assert checked.returncode == 0, checked.stdout
    for database in (str(tmp_path / "app.db"), postgres.create_database().url):
        done = subprocess.run(
            [sys.executable, APPLICATION, database], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    wrong = tmp_path / "wrong.py"
    text = APPLICATION.read_text(encoding="utf-8")
    wrong.write_text(
        text.replace('"cats")', "7)").replace("view_count=2", "views=2"), encoding="utf-8"
    )
    refused = mypy(wrong, tmp_path / "cache").stdout
    assert 'Argument 2 to "get_pending_videos" has incompatible type "int"' in refused
    assert 'Argument 2 has incompatible type "int"' in refused  # the async one
    assert 'Unexpected keyword argument "views" for "record_snapshot"' in refused
