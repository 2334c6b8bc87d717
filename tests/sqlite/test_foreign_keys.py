"""Rows that point to rows that are not there are counted by foreign key."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from shortsdb.sqlite.foreign_keys import BrokenKey, broken_keys

if TYPE_CHECKING:
    import pytest


def test_broken_keys_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(
            """
            CREATE TABLE parent (a INTEGER PRIMARY KEY, b, c, UNIQUE (c, b));
            CREATE TABLE child (
                x REFERENCES parent, y, z, w REFERENCES gone (a),
                FOREIGN KEY (y, z) REFERENCES parent (c, b)
            );
            CREATE TABLE odd (x REFERENCES parent (b));
            CREATE TABLE sound (x REFERENCES parent);
            INSERT INTO parent VALUES (1, 2, 3);
            INSERT INTO child VALUES (1, 3, 2, NULL), (7, 2, 3, NULL), (8, NULL, 1, NULL);
            INSERT INTO odd VALUES (1);
            INSERT INTO sound VALUES (1), (NULL);
            """
        )
        with caplog.at_level(logging.WARNING):
            found = broken_keys(connection)
    assert sorted(found, key=str) == [
        BrokenKey("child", "y, z", "parent", 1),
        BrokenKey("child", "x", "parent", 2),
    ]
    assert [text.startswith("the foreign keys of odd ") for text in caplog.messages] == [True]


def test_a_broken_key_is_printable() -> None:
    shown = str(BrokenKey("a\nb", "x", "c" * 300, 3))
    assert shown.startswith("3 rows of a\\nb point to rows of ccc")
    assert shown.endswith("c that are not there")
    assert len(shown) < 300
