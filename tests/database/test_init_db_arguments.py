"""init_db uses the given database, never one named by the environment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shortsdb.database import init_db, init_db_async

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("empty", ["", None, " ", "\t\n"])
def test_an_empty_path_is_refused_even_if_the_environment_names_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str | None
) -> None:
    named = tmp_path / "named.db"
    monkeypatch.setenv("SHORTSDB_URL", str(named))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="db_path is empty"):
        init_db(empty)  # type: ignore[arg-type] # None too
    with pytest.raises(ValueError, match="db_path is empty"):
        asyncio.run(init_db_async(empty))  # type: ignore[arg-type] # as above
    assert list(tmp_path.iterdir()) == []
