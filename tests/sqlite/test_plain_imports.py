"""Commands that need neither SQLAlchemy nor Alembic on a SQLite file do not import them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import legacy_database
import pytest

if TYPE_CHECKING:
    from pathlib import Path

_SCRIPT = """
import sys
from shortsdb.cli import main
try:
    main(sys.argv[1:])
finally:
    print("imported:", {"sqlalchemy", "alembic"} & set(sys.modules), file=sys.stderr)
"""


@pytest.fixture(params=["head", "unversioned", "missing"])
def file(request: pytest.FixtureRequest, head_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / f"{request.param}.db"
    if request.param == "head":
        shutil.copy(head_file, path)
    elif request.param == "unversioned":
        legacy_database.make(path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["status", "--json", "--exit-code"],
        ["health"],
        ["health", "--thorough", "--timeout", "20"],
        ["backup"],
        ["backups"],
        ["history", "--json"],
        ["verify", "{copy}"],
        ["restore", "{copy}", "--yes"],
    ],
    ids=" ".join,
)
def test_simple_commands_import_neither_sqlalchemy_nor_alembic(
    file: Path, head_file: Path, command: list[str]
) -> None:
    copy = file.with_name("copy.db")
    shutil.copy(head_file, copy)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT]
        + [part.format(copy=copy) for part in command]
        + ["--url", f"sqlite:///{file}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "imported: set()"
    missing_is_a_failure = file.stem == "missing" and command[0] in {"health", "backup", "history"}
    if missing_is_a_failure:
        assert done.returncode == 1
        assert not file.exists()
    elif "--exit-code" in command:
        assert done.returncode == {"head": 0, "unversioned": 3, "missing": 4}[file.stem]
    elif command[0] == "health":
        assert done.returncode == {"head": 0, "unversioned": 1}[file.stem]
    else:
        assert done.returncode == 0
