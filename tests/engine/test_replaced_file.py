"""An engine does not go on with another file, nor make a new one, in place of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from inspect_sqlite import execute
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from shortsdb.engine import create_engine

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    engine = create_engine(path)
    with engine.connect():
        assert path.exists()
    path.rename(tmp_path / "moved.db")
    with pytest.raises(OperationalError, match="it was moved or deleted"):
        engine.connect()
    assert not path.exists()
    engine.dispose()


def test_a_file_in_its_place_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    engine = create_engine(path)
    with engine.connect():
        pass
    execute(tmp_path / "other.db", "CREATE TABLE of_the_other (a)")
    (tmp_path / "other.db").replace(path)
    with engine.connect() as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master")).scalars().all()
    assert names == ["of_the_other"]
    engine.dispose()
