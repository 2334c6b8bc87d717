"""Rows are read from any connection of the DB-API, whose cursors are closed."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from shortsdb.sqlite.connection import rows, values


class Recording:
    """A connection that remembers its cursors."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take a connection."""
        self.connection = connection
        self.cursors: list[sqlite3.Cursor] = []

    def cursor(self) -> sqlite3.Cursor:
        """Return a new cursor."""
        self.cursors.append(self.connection.cursor())
        return self.cursors[-1]


def test_rows_and_values() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        recording = Recording(connection)
        assert rows(recording, "SELECT 1, ? UNION SELECT 3, 4", 2) == [(1, 2), (3, 4)]
        assert values(recording, "SELECT 1, ? UNION SELECT 3, 4", 2) == [1, 3]
        with pytest.raises(sqlite3.OperationalError):
            rows(recording, "SELECT nothing")
        assert len(recording.cursors) == 3
        for cursor in recording.cursors:
            with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
                cursor.execute("SELECT 1")
