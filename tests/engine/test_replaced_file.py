"""An engine does not go on with another file, nor make a new one, in place of its own."""

from __future__ import annotations

import sqlite3
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


@pytest.mark.parametrize("side", ["-wal", "-journal"])
def test_a_new_file_is_not_made_beside_an_orphan(tmp_path: Path, side: str) -> None:
    orphan = tmp_path / f"x.db{side}"
    orphan.write_text("rows")
    engine = create_engine(tmp_path / "x.db")
    with pytest.raises(OperationalError, match=f"it does not exist, but x.db{side} does") as caught:
        engine.connect()
    cause = caught.value.orig
    assert isinstance(cause, sqlite3.OperationalError)
    assert (cause.sqlite_errorcode, cause.sqlite_errorname) == (
        sqlite3.SQLITE_CANTOPEN,
        "SQLITE_CANTOPEN",
    )
    assert [path.name for path in tmp_path.iterdir()] == [orphan.name]
    orphan.unlink()
    engine.connect().close()
    engine.dispose()
