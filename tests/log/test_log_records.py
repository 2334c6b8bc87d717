"""Log records are safe to print, and contain their traceback."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest

from shortsdb.log import get_logger

FORGED = "t\nINFO    shorts.db is now at 0008\x1b[2K"
SCRIPT = f"""
from shortsdb.log import configure, get_logger
configure("shortsdb")
log = get_logger("shortsdb.x")
log.info("%s has %d", {FORGED!r}, 3)
try:
    raise ValueError({FORGED!r} + "postgresql://u:pw@h")
except ValueError:
    log.exception("it failed: %s", {FORGED!r})
log.warning("no server: postgresql://u:pw@h")
get_logger("alembic.util.messaging").error("said twice")
"""


def logged(form: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "SHORTSDB_LOG": form, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in done.stderr
    assert "pw@" not in done.stderr
    return done.stderr


def test_a_record_is_always_one_line() -> None:
    first, second, *traceback = logged("").splitlines()
    assert first == "INFO    t\\nINFO    shorts.db is now at 0008\\x1b[2K has 3"
    assert second.startswith("ERROR   it failed: t\\nINFO")
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == "WARNING no server: postgresql://u:***@h"  # Alembic prints its own


@pytest.mark.parametrize("form", ["json", "JSON"])
def test_the_traceback_is_a_field_of_the_json_record(form: str) -> None:
    lines = logged(form, SHORTSDB_CORRELATION_ID="a\nb").splitlines()
    first, second, third, fourth = map(json.loads, lines)
    assert "exception" not in first
    assert first["message"] == "t\\nINFO    shorts.db is now at 0008\\x1b[2K has 3"
    assert second["level"] == "ERROR"
    assert second["exception"].startswith("Traceback (most recent call last):\n")
    assert 'File "<string>", line ' in second["exception"]
    assert "\nValueError: t\nINFO" in second["exception"]
    assert "postgresql://u:***@h" in second["exception"]
    assert fourth["message"] == "said twice"
    assert third["message"] == "no server: postgresql://u:***@h"
    assert {first["correlation_id"], second["correlation_id"]} == {"a\\nb"}


def test_the_handlers_of_an_application_get_safe_values(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        get_logger("shortsdb.test").warning("%s at %.1f", FORGED, 1.25)
    assert caplog.messages == ["t\\nINFO    shorts.db is now at 0008\\x1b[2K at 1.2"]
