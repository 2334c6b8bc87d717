"""If a module of an extra is missing, the error says which extra to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

CASES = [
    ("import shortsdb.repositories", "advanced_alchemy", "repositories"),
    ("import shortsdb.web", "fastapi", "web"),
    ("import shortsdb.metrics", "prometheus_client", "metrics"),
    ("from shortsdb.engine import create_async_engine as c; c('x.db')", "aiosqlite", "async"),
    ("from shortsdb.engine import create_async_engine as c; c('x.db')", "greenlet", "async"),
    (
        "from shortsdb.engine import create_engine as c; c('postgresql://h/d')",
        "psycopg",
        "postgres",
    ),
    (
        "from shortsdb.engine import create_async_engine as c; c('postgresql://h/d')",
        "psycopg",
        "postgres",
    ),
    (
        "import asyncio, shortsdb.database as d; asyncio.run(d.init_db_async('x.db'))",
        "aiosqlite",
        "async",
    ),
]


@pytest.mark.parametrize(("statement", "missing", "extra"), CASES)
def test_the_extra_is_named(statement: str, missing: str, extra: str) -> None:
    # The error of a module that is not installed.
    script = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
{statement}
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"ModuleNotFoundError: {missing} is not installed; "
        f"it comes with pip install 'shortsdb[{extra}]'"
    )


def test_other_import_errors_are_unchanged() -> None:
    script = """
import sys
sys.modules["fastapi"] = None  # there, and broken
import shortsdb.extras
with shortsdb.extras.extra("web", "starlette"):
    import fastapi
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "pip install" not in done.stderr.splitlines()[-1]
    assert done.returncode == 1
