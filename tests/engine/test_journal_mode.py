"""The journal mode is set although others use the file, and other failures are not hidden."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from inspect_sqlite import execute

from shortsdb.engine.engines import _JOURNAL_MODE_ATTEMPTS, _set_journal_mode

if TYPE_CHECKING:
    from pathlib import Path


PRAGMA = "PRAGMA journal_mode = WAL"


class Cursor:
    """A cursor that records its statements, and whose first ones fail."""

    def __init__(self, *failures: int) -> None:
        """Take the codes of the failures of the first PRAGMAs."""
        self.failures = list(failures)
        self.statements: list[str] = []

    def execute(self, statement: str) -> None:
        """Record a statement, or fail."""
        self.statements.append(statement)
        if statement == PRAGMA and self.failures:
            error = sqlite3.OperationalError("failed")
            error.sqlite_errorcode = self.failures.pop(0)
            raise error


def test_it_waits_for_others() -> None:
    busy = Cursor(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY)
    _set_journal_mode(busy, "WAL")  # type: ignore[arg-type] # what it uses of one
    wait = [PRAGMA, "BEGIN EXCLUSIVE", "ROLLBACK"]
    assert busy.statements == [*wait, *wait, PRAGMA]
    always = Cursor(*[sqlite3.SQLITE_BUSY] * (_JOURNAL_MODE_ATTEMPTS + 1))
    with pytest.raises(sqlite3.OperationalError):
        _set_journal_mode(always, "WAL")  # type: ignore[arg-type] # as above
    assert always.statements == [*wait * _JOURNAL_MODE_ATTEMPTS, PRAGMA]


def test_other_failures() -> None:
    broken = Cursor(sqlite3.SQLITE_IOERR)
    with pytest.raises(sqlite3.OperationalError):
        _set_journal_mode(broken, "WAL")  # type: ignore[arg-type] # as above
    assert broken.statements == [PRAGMA]
    for code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_READONLY_DIRECTORY):
        read_only = Cursor(code)
        _set_journal_mode(read_only, "WAL")  # type: ignore[arg-type] # as above
        assert read_only.statements == [PRAGMA]


def test_a_file_that_may_only_be_read_keeps_its_mode(tmp_path: Path) -> None:
    execute(tmp_path / "x.db", "CREATE TABLE t (a)")
    with closing(sqlite3.connect(f"file:{tmp_path}/x.db?mode=ro", uri=True)) as connection:
        cursor = connection.cursor()
        _set_journal_mode(cursor, "WAL")  # type: ignore[arg-type] # as above
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("delete",)
