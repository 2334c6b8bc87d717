"""What a report says about a backup's age, to whom it shows what, and its problems."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from inspect_sqlite import execute
from other_user import STRANGER, needs_root, run_as
from project import HEAD

from shortsdb.errors import OperationRefused
from shortsdb.health import check_file_health
from shortsdb.health.report import Health, unanswered, unreachable, version_problems
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.version import Version

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("age", "hours", "problem"),
    [
        (None, None, None),
        (None, 2, "there is no backup of the last 2 h"),
        (0, 2, None),
        (7200, 2, None),
        (7200.5, 2, "there is no backup of the last 2 h: the newest is 2.0 h old"),
        (9000, 2, "there is no backup of the last 2 h: the newest is 2.5 h old"),
        (-0.5, 2, "there is no backup of the last 2 h: the newest is -0.0 h old"),
        (9000, 0.5, "there is no backup of the last 0.5 h: the newest is 2.5 h old"),
        (9000, None, None),
    ],
)
def test_the_age_of_the_last_backup(
    age: float | None, hours: float | None, problem: str | None
) -> None:
    health = Health(reachable=True, head="1", problems=("old",), last_backup_age_seconds=age)
    expected = ("old",) if problem is None else ("old", problem)
    assert health.limit_backup_age(hours).problems == expected
    gone = unreachable("gone")
    assert gone.limit_backup_age(hours) == gone


def test_a_page_for_everybody_tells_less() -> None:
    health = Health(reachable=True, head="1", last_backup="/secret/b.db", error="host h")
    assert health.fields("x.db") == {"database": "x.db", "ok": True, **asdict(health)}
    hidden = {"last_backup": "b.db", "error": None}
    assert health.fields() == {"database": None, "ok": True, **asdict(health), **hidden}
    assert Health(reachable=True, head="1").fields()["last_backup"] is None


def test_reports_on_databases_that_cannot_be_read() -> None:
    report = unreachable("gone", ValueError("a\n b"))
    assert report == Health(reachable=False, head=HEAD, problems=("gone",), error="a b")
    assert not report.ok
    assert Health(reachable=True, head="1").ok
    assert Health(reachable=True, head="1").known
    assert unreachable("gone").error is None
    assert unanswered(2.5).problems == ("it has not answered within 2.5 s",)


def test_the_backup_folder_is_that_of_the_argument_or_the_environment(
    deployed_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {}
    for name in ("named", "of the environment", "backups"):
        (tmp_path / name).mkdir()
        made[name] = str(make_backup(deployed_file, "0001", tmp_path / name))
    assert check_file_health(deployed_file).last_backup == made["backups"]
    monkeypatch.setenv("SHORTSDB_BACKUP", str(tmp_path / "of the environment"))
    assert check_file_health(deployed_file).last_backup == made["of the environment"]
    named = check_file_health(deployed_file, backup=str(tmp_path / "named"))
    assert named.last_backup == made["named"]
    assert named.last_backup_age_seconds is not None
    assert 0 <= named.last_backup_age_seconds < 600
    assert check_file_health(deployed_file, backup="off").last_backup is None


def test_problems_of_a_version() -> None:
    known = Version("8", None, None, known=True, pending=())
    assert list(version_problems(known, foreign_keys=True)) == []
    old = replace(known, pending=("9", "10"))
    assert list(version_problems(old, foreign_keys=True)) == ["revisions are pending: 9, 10"]
    other = replace(known, revision=None, known=False)
    assert list(version_problems(other, foreign_keys=True)) == [
        "it has no version, and its tables are those of no revision that this release knows"
    ]
    newer = replace(known, known=False)
    assert list(version_problems(newer, foreign_keys=False)) == [
        "it is at revision 8, which this release does not know",
        "connections of this engine do not enforce foreign keys",
    ]


def test_a_file_is_checked_thoroughly_unless_told_otherwise(
    head_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.db"
    shutil.copy(head_file, path)
    execute(path, "INSERT INTO shorts (pipeline_run_id) VALUES (77)")
    assert not check_file_health(path).ok
    assert check_file_health(path, thorough=False).ok


def test_a_folder_of_backups_that_cannot_be_read_has_none(
    head_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = ("the folder for backups does not exist",)
    for folder, problems in (("~no such user", ()), ("/proc/1/nothing", missing)):
        monkeypatch.setenv("SHORTSDB_BACKUP", folder)
        health = check_file_health(head_file)
        assert (health.last_backup, health.problems) == (None, problems)
        assert check_file_health(head_file, backup="off").problems == ()
    assert check_file_health(head_file, backup="/proc/1/nothing").problems == missing


@needs_root
def test_a_folder_of_backups_that_this_user_cannot_get_to_is_no_problem(
    head_file: Path, reachable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = reachable / "x.db"
    shutil.copy(head_file, path)
    path.chmod(0o644)
    (reachable / "closed" / "backups").mkdir(parents=True)
    (reachable / "closed").chmod(0o700)
    monkeypatch.setenv("SHORTSDB_BACKUP", str(reachable / "closed" / "backups"))
    assert check_file_health(path).ok
    found = run_as(STRANGER, lambda: check_file_health(path, read_only=True))
    assert (found.last_backup, found.problems) == (None, ())


def test_the_newest_of_several_backups_counts(head_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    shutil.copy(head_file, path)
    made = [make_backup(path, HEAD, tmp_path / "backups") for _ in range(3)]
    assert check_file_health(path).last_backup == str(made[-1])


def test_a_file_that_does_not_answer(
    head_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    shutil.copy(head_file, path)
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "2")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        health = check_file_health(path, timeout_seconds=0.1)
    assert health.problems == ("it has not answered within 0.1 s",)


def test_a_file_that_is_missing_or_is_none(
    head_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_file_health(tmp_path / "x.db") == unreachable("the file does not exist")
    with pytest.raises(OperationRefused, match="is a folder, not a database file"):
        check_file_health(tmp_path)
    (tmp_path / "garbage.db").write_bytes(b"no database " * 1000)
    garbage = check_file_health(tmp_path / "garbage.db")
    assert garbage.problems == ("it cannot be reached or read",)
    assert garbage.error is not None
    assert garbage.free_bytes is not None

    def fail(_: Path) -> None:  # as a disk does
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(shutil, "disk_usage", fail)
    health = check_file_health(head_file)
    assert (health.ok, health.free_bytes) == (True, None)
