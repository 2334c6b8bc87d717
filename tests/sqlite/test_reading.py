"""A user who may only read a file in WAL mode reads it whole, or not at all."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
from inspect_sqlite import execute
from other_user import OWNER, STRANGER, needs_root, run_as

from shortsdb.errors import OperationRefused
from shortsdb.sqlite import file_checks
from shortsdb.sqlite.connection import values
from shortsdb.sqlite.version import read_journal_mode, reading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = needs_root


@pytest.fixture
def file(reachable: Path) -> Path:
    """Return a file in WAL mode, in a folder that others may not write to."""
    path = reachable / "x.db"
    execute(path, "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    return path


def _read(file: Path, meanwhile: Callable[[], object] = list) -> tuple[object, object]:
    with reading(file) as connection:
        found = values(connection, "SELECT a FROM t"), read_journal_mode(connection, file)
        meanwhile()
    return found


def test_a_file_that_nobody_has_open(file: Path) -> None:
    assert run_as(STRANGER, partial(_read, file)) == ([1], "wal")
    assert list(file.parent.iterdir()) == [file]
    execute(file, "PRAGMA journal_mode = DELETE")
    assert run_as(STRANGER, partial(_read, file)) == ([1], "delete")


def test_foreign_keys_of_a_file_that_nobody_has_open(file: Path) -> None:
    def read(*, foreign_keys: bool) -> object:
        with reading(file, foreign_keys=foreign_keys) as connection:
            return values(connection, "PRAGMA foreign_keys")

    assert run_as(STRANGER, partial(read, foreign_keys=True)) == [1]
    assert run_as(STRANGER, partial(read, foreign_keys=False)) == [0]


@pytest.mark.parametrize("end", ["wal", "shm"])
def test_a_file_that_somebody_may_have_open_is_not_taken_for_one_that_nobody_has(
    file: Path, end: str
) -> None:
    file.with_name(f"x.db-{end}").touch()
    with pytest.raises(sqlite3.OperationalError):
        run_as(STRANGER, partial(_read, file))


def test_a_file_that_its_owner_has_open(file: Path) -> None:
    with closing(sqlite3.connect(file)) as owner:
        owner.execute("INSERT INTO t VALUES (2)")
        owner.commit()
        assert run_as(STRANGER, partial(_read, file)) == ([1, 2], "wal")


def test_what_a_killed_program_began_is_not_read(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as killed:
        killed.execute("PRAGMA journal_mode = DELETE")
        killed.execute("PRAGMA cache_spill = 1")
        killed.execute("PRAGMA cache_size = 1")
        killed.execute("BEGIN")
        killed.execute("UPDATE t SET a = zeroblob(100000)")
        left = file.with_name("left.db")
        for suffix in ("", "-journal"):
            left.with_name(f"left.db{suffix}").write_bytes(
                file.with_name(f"x.db{suffix}").read_bytes()
            )
    with pytest.raises(OperationRefused, match=r"left\.db has a -journal beside it"):
        run_as(STRANGER, partial(_read, left))
    assert left.with_name("left.db-journal").exists()
    assert _read(left) == ([1], "delete")  # root may undo it


def test_a_backup_of_another_user_is_read_without_side_files(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.parent.chmod(0o777)
    os.chown(file, OWNER, OWNER)
    monkeypatch.setattr(file_checks, "interpreter", lambda: "/bin/false")  # says: WAL mode

    def read(*, immutable: bool) -> object:
        with reading(file, immutable=immutable) as connection:
            return values(connection, "SELECT a FROM t")

    assert run_as(STRANGER, partial(read, immutable=True)) == [1]
    assert list(file.parent.iterdir()) == [file]
    with pytest.raises(OperationRefused, match="belongs to another user, and is in WAL mode"):
        run_as(STRANGER, partial(read, immutable=False))


def test_rows_beside_the_file_are_not_overlooked(file: Path) -> None:
    with closing(sqlite3.connect(file)) as owner:
        owner.execute("INSERT INTO t VALUES (2)")
        owner.commit()
        copy = file.with_name("copy.db")
        copy.write_bytes(file.read_bytes())
        copy.with_name("copy.db-wal").write_bytes(file.with_name("x.db-wal").read_bytes())
    with pytest.raises(sqlite3.OperationalError):
        run_as(STRANGER, partial(_read, copy))


def test_a_file_that_is_changed_meanwhile_is_not_believed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere, so the folder is made to look like one that it may not write to.
    monkeypatch.setattr("shortsdb.sqlite.version.os.access", lambda *_: False)
    monkeypatch.setattr("shortsdb.sqlite.version._can_be_read", lambda _: False)
    monkeypatch.setattr("shortsdb.sqlite.version.refuse_unusable_file", lambda *_, **__: None)
    write = partial(execute, file, "INSERT INTO t VALUES (2)")
    with pytest.raises(OperationRefused, match="was opened by another process while this user"):
        _read(file, write)
    assert _read(file)[0] == [1, 2]
