"""What a rehearsal finds, field by field, and what it measures."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from alembic import command
from inspect_sqlite import execute, file_hash
from project import HEAD

from shortsdb.errors import OperationRefused
from shortsdb.migration import MigrationRefused, Rehearsal, alembic_config, rehearsal, rehearse
from shortsdb.migration.rehearsal import _compare, _folder_bytes, _peak
from shortsdb.sqlite.backup import make_backup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.config import Config

OK = Rehearsal(
    at="0001",
    to=HEAD,
    seconds=1,
    seconds_locked=1,
    seconds_back=1,
    peak_bytes=1,
    rows=60,
    changed=[],
    changed_back=[],
    drift=[],
    broken_keys=[],
)


def upgraded(file: Path, revision: str) -> Path:
    command.upgrade(alembic_config(str(file), backup="off"), revision)
    return file


@pytest.mark.parametrize("field", ["changed", "changed_back", "drift", "broken_keys"])
def test_anything_that_was_found_is_not_ok(field: str) -> None:
    assert OK.ok
    assert not replace(OK, **{field: ["x"]}).ok  # type: ignore[arg-type]


def test_an_upgrade_of_a_deployed_file(
    deployed_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = file_hash(deployed_file)
    with caplog.at_level(logging.INFO, "shortsdb"):
        found = rehearse(deployed_file, "head")
    assert not [record for record in caplog.records if record.name.startswith("shortsdb")]
    assert found.seconds >= found.seconds_locked > 0
    size = deployed_file.stat().st_size
    assert size <= found.peak_bytes < 4 * size  # the backup, and a journal
    measured = {"seconds": 1, "seconds_locked": 1, "seconds_back": 1, "peak_bytes": 1}
    assert replace(found, **measured) == OK  # type: ignore[arg-type]
    assert file_hash(deployed_file) == before
    assert list(deployed_file.parent.iterdir()) == [deployed_file]


def test_the_way_back_of_a_downgrade_goes_up(full_file: Path) -> None:
    found = rehearse(full_file, "0006")
    assert (found.at, found.to, found.ok, found.drift) == (HEAD, "0006", False, [])
    # The tables that it drops are compared only when they are there again.
    assert found.rows == 60 + 2 * 5
    assert found.changed == []
    assert found.changed_back == ["config_overrides", "error_logs"]


def test_what_it_took_is_read_from_the_history(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_say(seconds: tuple[float, float]) -> None:
        name = {5: "upgrade", 7: "downgrade"}[int(seconds[0])]
        run = getattr(command, name)

        def migrate(config: Config, revision: str) -> None:
            run(config, revision)
            execute(
                Path(config.attributes["url"]),
                f"UPDATE shortsdb_history SET seconds = {seconds[0]}, seconds_locked = {seconds[1]}"
                f" WHERE action = '{name}'",
            )

        monkeypatch.setattr(command, name, migrate)

    and_say((5.5, 4.5))
    and_say((7.5, 6.5))
    found = rehearse(deployed_file, "0003")
    assert (found.seconds, found.seconds_locked, found.seconds_back) == (5.5, 4.5, 7.5)


@pytest.mark.parametrize("moment", ["there", "back"])
def test_rows_that_one_direction_changes_are_its_own(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    name = {"there": "upgrade", "back": "downgrade"}[moment]
    run = getattr(command, name)

    def and_lose(config: Config, revision: str) -> None:
        run(config, revision)
        execute(Path(config.attributes["url"]), "UPDATE clips SET rank_position = 99 WHERE id = 2")

    monkeypatch.setattr(command, name, and_lose)
    found = rehearse(deployed_file, "0002")
    assert found.changed == (["clips"] if moment == "there" else [])
    assert found.changed_back == ["clips"]


def test_drift_and_broken_keys_of_the_result_are_found(deployed_file: Path) -> None:
    upgraded(deployed_file, "0007")
    execute(
        deployed_file,
        "ALTER TABLE analytics DROP COLUMN like_count; PRAGMA foreign_keys = OFF;"
        "UPDATE clips SET pipeline_run_id = 777 WHERE id = 2",
    )
    found = rehearse(deployed_file, "head")
    assert found.drift == ["column analytics.like_count (INTEGER) is missing"]
    (broken,) = found.broken_keys
    assert "clips" in broken
    assert "pipeline_runs" in broken
    assert rehearse(deployed_file, HEAD).drift == found.drift
    assert rehearse(deployed_file, "0006").drift == []  # only head can be compared with the models


def test_the_copies_are_the_owners_and_are_gone_after_a_failure(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []

    def look(copy: Path, *_: object, **__: object) -> None:
        modes.append(stat.S_IMODE(copy.parent.stat().st_mode))
        assert copy.parent.parent == deployed_file.parent
        assert copy.parent.name.startswith(".deployed.db.")
        raise MigrationRefused("no")

    monkeypatch.setattr(rehearsal, "_migrate", look)
    with pytest.raises(MigrationRefused, match="no"):
        rehearse(deployed_file, "head")
    assert modes == [0o700]
    assert list(deployed_file.parent.iterdir()) == [deployed_file]


def test_a_file_may_have_the_longest_name_that_sqlite_takes(deployed_file: Path) -> None:
    """Its journal has that name and eight characters more, and a name has at most 255."""
    file = deployed_file.rename(deployed_file.with_name("d" * 247))
    assert rehearse(file, "0002").ok


@pytest.mark.parametrize("kind", [sqlite3.OperationalError, sqlite3.DatabaseError])
def test_an_error_of_sqlite_is_a_refusal(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch, kind: type[sqlite3.Error]
) -> None:
    def fail(*_: object) -> None:  # as a disk does, and what it gave back
        raise kind("disk I/O error")

    monkeypatch.setattr(rehearsal, "_compare", fail)
    with pytest.raises(MigrationRefused, match=r"copy\.db.*disk I/O error"):
        rehearse(deployed_file, "head")
    assert list(deployed_file.parent.iterdir()) == [deployed_file]


def test_there_is_nothing_to_rehearse_at_the_destination(deployed_file: Path) -> None:
    upgraded(deployed_file, "0002")
    with pytest.raises(MigrationRefused, match="is at 0002 already: there is nothing to rehearse"):
        rehearse(deployed_file, "0002")


def test_an_adoption_alone_is_nothing_to_rehearse(deployed_file: Path) -> None:
    with pytest.raises(MigrationRefused, match="is at 0001 already: there is nothing to rehearse"):
        rehearse(deployed_file, "0001")


def test_what_others_write_meanwhile_is_no_change_of_the_migration(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_write(source: Path, *arguments: object) -> Path:
        made = make_backup(source, *arguments)  # type: ignore[arg-type]
        execute(deployed_file, "UPDATE clips SET rank_position = rank_position + 100")
        return made

    monkeypatch.setattr(rehearsal, "make_backup", and_write)
    assert rehearse(deployed_file, "0002").ok


def test_what_both_files_have_is_compared(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    execute(
        old,
        "CREATE TABLE a (x, y); INSERT INTO a VALUES (1, 2), (3, 4); CREATE TABLE b (x);"
        "INSERT INTO b VALUES (1); CREATE TABLE c (x); INSERT INTO c VALUES (1), (2), (3);"
        "CREATE TABLE d (x); CREATE TABLE gone (x); INSERT INTO gone VALUES (1);"
        "CREATE TABLE alembic_version (v); INSERT INTO alembic_version VALUES ('1');"
        "CREATE TABLE shortsdb_history (v); INSERT INTO shortsdb_history VALUES ('1')",
    )
    execute(
        new,
        "CREATE TABLE a (z, y); INSERT INTO a VALUES (7, 4), (8, 2); CREATE TABLE b (x);"
        "INSERT INTO b VALUES ('1'); CREATE TABLE c (x); INSERT INTO c VALUES (1), (2), (3);"
        "CREATE TABLE d (x); INSERT INTO d VALUES (1);"
        "CREATE TABLE more (x);"
        "CREATE TABLE alembic_version (v); CREATE TABLE shortsdb_history (v)",
    )
    assert _compare(old, new) == (6, ["b", "d"])


def test_the_bytes_of_a_folder(tmp_path: Path) -> None:
    assert _folder_bytes(tmp_path) == 0
    (tmp_path / "inner").mkdir()
    empty = _folder_bytes(tmp_path)
    (tmp_path / "inner" / "one").write_bytes(b"x" * 1000)
    (tmp_path / "aa").symlink_to(tmp_path / "gone")  # as what is deleted while it is counted
    (tmp_path / "other").write_bytes(b"x" * 234)
    assert _folder_bytes(tmp_path) == empty + 1234


def test_what_was_needed_for_a_while_counts(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def measured(folder: Path) -> Iterator[list[int]]:
        with _peak(folder) as seen:
            seen.append(10**12)
            yield seen

    monkeypatch.setattr(rehearsal, "_peak", measured)
    assert 10**12 > rehearse(deployed_file, "0002").peak_bytes > 10**11


def test_the_peak_is_seen_though_it_passes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    before = _folder_bytes(tmp_path)
    with _peak(tmp_path) as seen:
        assert seen[0] == before
        file.write_bytes(b"x" * 5000)
        while max(seen) < before + 5000:
            os.sched_yield()
        file.unlink()
    assert seen[-1] == before
    assert max(seen) == before + 5000


def test_the_end_is_a_moment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_SAMPLE_SECONDS", 3600)
    before = _folder_bytes(tmp_path)
    with pytest.raises(KeyError), _peak(tmp_path) as seen:
        raise KeyError((tmp_path / "file").write_bytes(b"x" * 5000))
    assert seen == [before, before + 5000]


def test_nothing_is_measured_after_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring, measured = threading.Event(), list[str]()
    never = threading.Event()

    def measure(_: Path) -> int:
        if threading.current_thread() is threading.main_thread():
            return 1
        measuring.set()
        never.wait(0.2)  # as a folder of many files does
        measured.append("late")
        return 2

    monkeypatch.setattr(rehearsal, "_folder_bytes", measure)
    with _peak(tmp_path) as seen:
        measuring.wait(60)
    assert seen == [1, *(2 for _ in measured), 1]
    assert measured


def test_the_backups_are_made_where_the_copy_is(
    deployed_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("SHORTSDB_BACKUP", str(elsewhere))
    found = rehearse(deployed_file, "0002")
    assert found.peak_bytes >= deployed_file.stat().st_size
    assert not elsewhere.exists()


def test_a_migration_may_take_no_time(deployed_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortsdb.migration.history.round", lambda *_: 0.0, raising=False)
    found = rehearse(deployed_file, "0002")
    assert (found.seconds, found.seconds_locked, found.seconds_back) == (0, 0, 0)


@pytest.mark.parametrize("missing", [0, 1])
def test_room_for_four_times_the_file_is_needed(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    needed = 4 * deployed_file.stat().st_size
    asked: list[Path] = []

    def disk_usage(folder: Path) -> SimpleNamespace:
        asked.append(folder)
        return SimpleNamespace(free=needed - missing if len(asked) == 1 else 2**40)

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    if missing:
        with pytest.raises(OperationRefused, match="MiB are needed"):
            rehearse(deployed_file, "0002")
    else:
        assert rehearse(deployed_file, "0002").ok
    assert asked[0] == deployed_file.parent
