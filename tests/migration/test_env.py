"""The database that env.py migrates: -x, then the caller's choice, then SHORTSDB_URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspect_sqlite import version
from project import HEAD

from shortsdb.lifecycle import init_db

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from project import Program


def test_the_argument_of_init_db_precedes_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_URL", str(tmp_path / "other.db"))
    init_db(tmp_path / "told.db").dispose()
    assert version(tmp_path / "told.db") == [HEAD]
    assert not (tmp_path / "other.db").exists()


def test_x_precedes_the_environment(alembic: Program, tmp_path: Path) -> None:
    assert alembic("-x", "url=x.db", "upgrade", "head", SHORTSDB_URL="other.db").returncode == 0
    assert version(tmp_path / "x.db") == [HEAD]
    assert not (tmp_path / "other.db").exists()
