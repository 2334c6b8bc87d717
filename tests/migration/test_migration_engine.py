"""Connections of commands that change nothing cannot write, and create no file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from shortsdb.migration import MigrationRefused, create_migration_engine, read_only_connection
from shortsdb.target import Target

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_cannot_be_written(deployed_file: Path) -> None:
    target = Target.parse(str(deployed_file))
    for statement in ("DELETE FROM clips", "CREATE TABLE t (a)"):
        with (
            pytest.raises(MigrationRefused, match="is read-only"),
            read_only_connection(target) as connection,
        ):
            connection.execute(text(statement))
    with read_only_connection(target) as connection:
        assert connection.scalar(text("SELECT count(*) FROM clips"))


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    target = Target.parse(str(tmp_path / "gone.db"))
    with read_only_connection(target) as connection:
        assert connection.scalar(text("SELECT count(*) FROM sqlite_master")) == 0
    assert not list(tmp_path.iterdir())
    with create_migration_engine(target, changes=True).connect():
        assert target.file
        assert target.file.exists()


def test_a_driver_that_is_missing_is_named_without_the_password() -> None:
    given = "postgresql+psycopg2://u:s3cret@h/d"
    wanted = r"driver postgresql\+psycopg2 is not installed"
    with pytest.raises(MigrationRefused, match=wanted) as refused:
        create_migration_engine(Target.parse(given), changes=False)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__suppress_context__
