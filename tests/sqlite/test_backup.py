"""Backups before every change, and restores."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import legacy_database
import pytest
from alembic import command
from click.testing import CliRunner
from inspect_sqlite import execute, file_hash, row_hashes, schema, version
from project import HEAD
from sqlalchemy.exc import OperationalError

from shortsdb.cli import main
from shortsdb.errors import OperationRefused
from shortsdb.migration import MigrationRefused
from shortsdb.migration.revisions import alembic_config
from shortsdb.settings import BACKUPS_KEPT as KEPT
from shortsdb.sqlite import _raw_copy, backup_files, online_copy
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.backup_files import backups_of, list_backups
from shortsdb.sqlite.files import identity
from shortsdb.sqlite.restore import restore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from pathlib import Path

    from project import Program


def upgrade(path: Path, revision: str = "head", *, backup: str | None = None) -> None:
    command.upgrade(alembic_config(str(path), backup=backup), revision)


@pytest.fixture(params=["delete", "wal"])
def file(deployed_file: Path, request: pytest.FixtureRequest) -> Path:
    """Return a deployed file, in either journal mode."""
    execute(deployed_file, f"PRAGMA journal_mode = {request.param}")
    return deployed_file


def test_an_upgrade_backs_up_exactly_the_old_content(file: Path) -> None:
    schema_before, rows_before = schema(file), row_hashes(file)
    file.chmod(0o640)
    upgrade(file)
    (backup,) = backups_of(file, file.parent / "backups")
    assert backup.name.startswith("deployed.0001-upgrade.2")
    assert schema(backup) == schema_before
    assert row_hashes(backup) == rows_before
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640
    command.downgrade(alembic_config(str(file)), "0001")
    made = [(one.revision, one.kind) for one in list_backups(file, backup.parent)]
    assert made == [("0001", "upgrade"), (HEAD, "downgrade")]


def test_no_backup_without_changes_or_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    upgrade(path)
    upgrade(path)
    command.downgrade(alembic_config(str(path)), "0001")
    assert not (tmp_path / "backups").exists()
    execute(
        path,
        "INSERT INTO pipeline_runs VALUES (1, 'n', 'a', 'b', 'c'" + ", NULL" * 8 + ", 0)",
    )
    upgrade(path)
    upgrade(path)
    assert len(backups_of(path, tmp_path / "backups")) == 1


def test_backups_can_be_redirected_or_switched_off(
    alembic: Program, deployed_file: Path, tmp_path: Path
) -> None:
    url = ("-x", f"url={deployed_file}")
    for number, (arguments, environment, folder) in enumerate(
        [
            (["-x", "backup=by_x"], {"SHORTSDB_BACKUP": "by_env"}, "by_x"),
            ([], {"SHORTSDB_BACKUP": "by_env"}, "by_env"),
            ([], {}, "backups"),
        ],
        start=2,
    ):
        if folder != "backups":  # only the default one is made
            refused = alembic(*url, *arguments, "upgrade", "head", **environment)
            assert refused.returncode == 255
            assert f"{tmp_path / folder} does not exist; nothing was changed" in refused.stdout
            (tmp_path / folder).mkdir()
        done = alembic(*url, *arguments, "upgrade", f"000{number}", **environment)
        assert done.returncode == 0, done.stdout
        assert len(backups_of(deployed_file, tmp_path / folder)) == 1
    before = {path for path in tmp_path.rglob("*.db") if path != deployed_file}
    done = alembic(*url, "-x", "backup=off", "upgrade", "head")
    assert done.returncode == 0
    assert "backup disabled: the data is not checked for corruption" in done.stderr
    assert {path for path in tmp_path.rglob("*.db") if path != deployed_file} == before


def test_the_newest_backups_are_kept_and_foreign_files_untouched(deployed_file: Path) -> None:
    folder = deployed_file.parent / "backups"
    folder.mkdir()
    others = [
        folder / name
        for name in (
            "deployed.0001.notes.db",
            "deployed2.0001.20200101T000000000000Z.db",
            "deployed.0001.20200101T000000000000Z.sqlite",
        )
    ]
    for other in others:
        other.touch()
    abandoned = folder / "deployed.0001.20200101T000000000000Z.db.partial"
    abandoned.touch()
    os.utime(abandoned, (0, 0))
    under_way = folder / "deployed.0001.20990101T000000000000Z.db.partial"
    under_way.touch()
    for number in range(1, KEPT + 3):
        upgrade(deployed_file, f"000{number + 1}")
    kept = list_backups(deployed_file, folder)
    assert [backup.revision for backup in kept] == ["0003", "0004", "0005", "0006", "0007"]
    assert all(other.exists() for other in others)
    assert under_way.exists()
    assert not abandoned.exists()


def test_a_backup_that_fails_stops_the_upgrade(deployed_file: Path) -> None:
    before = file_hash(deployed_file)
    (deployed_file.parent / "backups").write_text("a file is in the way")
    with pytest.raises(MigrationRefused, match=r"the backup in .*backups failed"):
        upgrade(deployed_file)
    assert file_hash(deployed_file) == before


def test_a_refused_upgrade_leaves_no_backup(deployed_file: Path) -> None:
    upgrade(deployed_file, backup="off")
    with pytest.raises(Exception, match="would drop"):
        command.downgrade(alembic_config(str(deployed_file)), "base")
    assert not (deployed_file.parent / "backups").exists()


def test_writes_during_the_copy_are_in_the_backup(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that arrives between the copy and the lock is in the backup that is kept."""
    import shortsdb.migration.sqlite as module  # noqa: PLC0415 - to put something in between

    copies: list[Path] = []

    def copy_then_write(*arguments: object) -> Path:
        copies.append(make_backup(*arguments))  # type: ignore[arg-type]
        if len(copies) == 1:
            execute(deployed_file, "UPDATE clips SET clip_file_path = 'written meanwhile'")
        return copies[-1]

    monkeypatch.setattr(module, "make_backup", copy_then_write)
    upgrade(deployed_file)
    assert len(copies) == 2
    (kept,) = backups_of(deployed_file, deployed_file.parent / "backups")
    assert kept == copies[1]
    with closing(sqlite3.connect(kept)) as connection:
        paths = connection.execute("SELECT DISTINCT clip_file_path FROM clips").fetchall()
    assert paths == [("written meanwhile",)]


def test_a_slow_backup_is_kept_and_its_gap_is_logged(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Making writers wait for another copy would lose more than it saves."""
    import shortsdb.migration.sqlite as module  # noqa: PLC0415 - to put something in between

    rows_before = row_hashes(deployed_file)

    def copy_then_write(*arguments: object) -> Path:
        copy = make_backup(*arguments)  # type: ignore[arg-type]
        execute(deployed_file, "UPDATE clips SET clip_file_path = 'written meanwhile'")
        return copy

    monkeypatch.setattr(module, "make_backup", copy_then_write)
    monkeypatch.setattr(module, "_STALL_SECONDS", 0.0)
    upgrade(deployed_file)
    (kept,) = backups_of(deployed_file, deployed_file.parent / "backups")
    assert row_hashes(kept) == rows_before
    assert "was written to after the backup was begun" in caplog.text


# Sets the same number at both ends of the file: a copy with two numbers in it is torn.
_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60)
connection.execute("PRAGMA synchronous = OFF")
number = 0
while True:
    number += 1
    with connection:
        connection.execute("UPDATE first SET number = ?", (number,))
        connection.execute("UPDATE last SET number = ?", (number,))
    if number == 1:
        print("begun", flush=True)
"""


@pytest.fixture(params=["delete", "wal"])
def written_to(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return a file of 48 MiB that a process writes to without a pause."""
    file = tmp_path / "busy.db"
    execute(
        file,
        f"PRAGMA journal_mode = {request.param};"
        "CREATE TABLE first AS SELECT 0 AS number;"
        f"CREATE TABLE middle AS SELECT zeroblob({48 * 2**20});"
        "CREATE TABLE last AS SELECT 0 AS number;",
    )
    command = [sys.executable, "-c", _WRITER, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        yield file
        assert writer.poll() is None  # it met no error
        writer.kill()


def numbers(path: Path) -> list[int]:
    """Return the numbers of the writer in a database, which must be whole."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT number FROM first UNION SELECT number FROM last")
        return [number for (number,) in rows]


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return whether each copy that SQLite could not end was made otherwise."""
    made: list[bool] = []
    copy_by_hand = online_copy._copy_by_hand  # noqa: SLF001 - it is watched

    def watched(*arguments: Any) -> bool:  # noqa: ANN401 - as they are
        made.append(copy_by_hand(*arguments))
        return made[-1]

    monkeypatch.setattr(online_copy, "_copy_by_hand", watched)
    return made


def test_backup_succeeds_beside_a_writer_that_never_pauses(
    written_to: Path, by_hand: list[bool]
) -> None:
    last = 0
    for _ in range(3):
        backup = make_backup(written_to, "0001", written_to.parent / "backups")
        (number,) = numbers(backup)
        assert number >= last
        last = number
    with closing(sqlite3.connect(written_to)) as connection:
        in_wal = connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    # WAL mode needs no second pass; otherwise the writer is usually faster than the steps.
    assert by_hand == [] if in_wal else True in by_hand


@pytest.fixture
def overtaken(by_hand: list[bool], monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let SQLite's first copy be one that a writer keeps from ending; return as `by_hand`."""
    copy_pages = online_copy.copy_pages

    def once(*_: object) -> None:
        monkeypatch.setattr(online_copy, "copy_pages", copy_pages)
        raise online_copy._OvertakenError  # noqa: SLF001 - what a writer would cause

    monkeypatch.setattr(online_copy, "copy_pages", once)
    return by_hand


@pytest.mark.parametrize(
    "interpreter", ["/bin/false", "/bin/true", "/bin/echo", "/bin/cat", "/nowhere/python", "", None]
)
def test_backup_falls_back_when_the_copy_process_cannot_start(
    deployed_file: Path,
    overtaken: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    interpreter: str | None,
) -> None:
    monkeypatch.setattr(sys, "executable", interpreter)
    backup = make_backup(deployed_file, "0001", deployed_file.parent / "backups")
    assert overtaken == [False]
    assert row_hashes(backup) == row_hashes(deployed_file)


@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.stdout.write('copied\\n'); sys.stdout.flush(); sys.stdin.readline()",
        "import sys; sys.stdout.write('copied\\n')",
        "print(0.5)",
        "import sys; sys.stdin.read()",
        "import signal; signal.pause()",
    ],
    ids=["ends the second time", "ends after the first", "ends the first time", "hangs", "stays"],
)
@pytest.mark.timeout(60)  # one that hangs is killed
def test_a_copy_without_a_success_line_is_not_used(
    deployed_file: Path, overtaken: list[bool], monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Its exit code is 0, as always if SIGCHLD is ignored."""
    script = deployed_file.with_name("program.py")
    script.write_text(program)
    monkeypatch.setattr(_raw_copy, "__file__", str(script))
    monkeypatch.setattr(online_copy, "_START_SECONDS", 1.0)
    backup = make_backup(deployed_file, "0001", deployed_file.parent / "backups")
    assert overtaken == [False]
    assert row_hashes(backup) == row_hashes(deployed_file)


def test_a_file_that_enters_wal_mode_during_the_copy(
    deployed_file: Path, overtaken: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last commits are then in the -wal, which the copying process does not read."""
    hold_snapshot = online_copy._hold_snapshot  # noqa: SLF001 - something happens before
    in_wal = sqlite3.connect(deployed_file)

    def set_wal_mode(source: sqlite3.Connection) -> None:
        in_wal.execute("PRAGMA journal_mode = WAL")
        with in_wal:
            in_wal.execute("UPDATE clips SET rank_position = 4711")
        hold_snapshot(source)

    monkeypatch.setattr(online_copy, "_hold_snapshot", set_wal_mode)
    with closing(in_wal):
        backup = make_backup(deployed_file, "0001", deployed_file.parent / "backups")
    with closing(sqlite3.connect(backup)) as connection:
        rows = connection.execute("SELECT DISTINCT rank_position FROM clips").fetchall()
    assert rows == [(4711,)]
    assert overtaken == [False]


@pytest.mark.parametrize("size", [0, 10, 5_000, 3 * 2**20 + 1])
@pytest.mark.parametrize("new_size", [0, 9, 4 * 2**20])
def test_the_second_pass_copies_all_changes(tmp_path: Path, size: int, new_size: int) -> None:
    file, copy = tmp_path / "file", tmp_path / "copy"
    copy.touch()
    for agreed in (False, True):
        file.write_bytes(b"a" * size)
        with (
            copy.open("r+b") as inherited,
            subprocess.Popen(
                [
                    *(sys.executable, _raw_copy.__file__, str(file)),
                    *(str(identity(file.stat())), str(inherited.fileno())),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[inherited.fileno()],
            ) as process,
        ):
            assert process.stdout is not None
            assert process.stdout.readline() == b"0.0\n"
            assert process.stdout.readline() == _raw_copy.COPIED.encode()
            assert copy.read_bytes() == file.read_bytes()
            file.write_bytes(b"b" * new_size)
            said, _ = process.communicate(b"\n" if agreed else b"")
        assert said == (_raw_copy.EQUAL.encode() if agreed else b"")
        assert (copy.read_bytes() == file.read_bytes()) == (agreed or size == new_size == 0)


def test_restore_brings_back_the_backup_and_keeps_the_replaced_content(file: Path) -> None:
    rows_before, folder = row_hashes(file), file.parent / "backups"
    upgrade(file)
    (backup,) = backups_of(file, folder)
    execute(file, "DELETE FROM clips; INSERT INTO shorts (pipeline_run_id) VALUES (1)")
    rows_after = row_hashes(file)

    replaced = restore(backup, file, folder, HEAD)

    assert row_hashes(file) == rows_before
    assert "alembic_version" not in schema(file)
    assert replaced is not None
    assert row_hashes(replaced) == rows_after
    assert backups_of(file, folder) == [backup, replaced]
    upgrade(file)
    assert version(file) == [HEAD]


def test_restore_of_a_backup_with_pages_of_another_size(file: Path) -> None:
    folder = file.parent / "backups"
    backup = make_backup(file, "0001", folder)
    rows_before = row_hashes(file)
    execute(backup, "PRAGMA journal_mode = delete; PRAGMA page_size = 1024; VACUUM")
    execute(file, "DELETE FROM clips")
    restore(backup, file, folder, "0001")
    assert row_hashes(file) == rows_before
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (1024,)


def test_restore_creates_a_missing_file(file: Path) -> None:
    rows_before, folder = row_hashes(file), file.parent / "backups"
    backup = make_backup(file, "0001", folder)
    file.unlink()
    assert restore(backup, file, folder, None) is None
    assert row_hashes(file) == rows_before
    assert backups_of(file, folder) == [backup]


def test_restore_is_refused_during_a_write(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0.2")
    folder = file.parent / "backups"
    backup = make_backup(file, "0001", folder)
    rows_before = row_hashes(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE clips SET rank_position = 99")
        with pytest.raises(OperationRefused, match="is locked by another process"):
            restore(backup, file, folder, "0001")
        writer.execute("COMMIT")
    assert row_hashes(file).keys() == rows_before.keys()
    assert row_hashes(file) != rows_before  # the writer's work is there
    assert backups_of(file, folder) == [backup]


def test_restore_replaces_a_damaged_database(file: Path) -> None:
    folder = file.parent / "backups"
    rows_before = row_hashes(file)
    backup = make_backup(file, "0001", folder)
    with file.open("r+b") as raw:
        raw.seek(4096 * 3)
        raw.write(b"\xff" * 4096)
    replaced = restore(backup, file, folder, None)
    assert row_hashes(file) == rows_before
    assert replaced is not None
    assert b"\xff" * 4096 in replaced.read_bytes()


def test_restore_refuses_files_that_are_not_backups(file: Path, tmp_path: Path) -> None:
    before = file_hash(file)
    backup = make_backup(file, "0001", tmp_path / "backups")
    with backup.open("r+b") as raw:
        raw.seek(4096 * 2)
        raw.write(b"\xff" * 4096)
    text = tmp_path / "text.db"
    text.write_text("no database" * 1000)
    unfinished = make_backup(file, "0002", tmp_path / "backups")
    unfinished.with_name(f"{unfinished.name}-wal").write_bytes(b"x")
    for given, phrase in (
        (backup, "is damaged"),
        (text, "is not an SQLite database"),
        (tmp_path / "nothing.db", "does not exist"),
        (file, "is the database itself"),
        (unfinished, "not a backup"),
    ):
        with pytest.raises(OperationRefused, match=phrase):
            restore(given, file, None, None)
    assert file_hash(file) == before


def test_databases_of_the_same_name_can_share_a_backup_folder(tmp_path: Path) -> None:
    shared = tmp_path / "all"
    shared.mkdir()
    cats, dogs = (tmp_path / name / "shortsdb.db" for name in ("cats", "dogs"))
    for file in (cats, dogs):
        file.parent.mkdir()
        legacy_database.make(file)
    upgrade(cats, backup=str(shared))
    (kept,) = backups_of(cats, shared)
    for number in range(2, 9):
        upgrade(dogs, f"000{number}", backup=str(shared))
    assert backups_of(cats, shared) == [kept]
    assert len(backups_of(dogs, shared)) == KEPT
    assert kept not in backups_of(dogs, shared)


def test_backups_of_a_link_are_those_of_the_file_behind_it(deployed_file: Path) -> None:
    link = deployed_file.parent / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(deployed_file)
    upgrade(link)
    assert link.is_symlink()
    assert version(deployed_file) == [HEAD]
    (backup,) = backups_of(deployed_file, deployed_file.parent / "backups")
    status = CliRunner().invoke(main, ["status", "--json", "--url", str(link)])
    assert json.loads(status.output)["last_backup"] == str(backup)


class Clock(datetime):
    """A clock that tells the same instant three times over, then the next."""

    asked = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Clock:
        """Return the instant that it is."""
        cls.asked += 1
        return cls(2026, 1, 1, microsecond=cls.asked // 4, tzinfo=tz)


@pytest.mark.parametrize("suffix", [".partial", ""], ids=["being made", "made"])
def test_two_backups_in_one_microsecond_get_different_names(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    folder = deployed_file.parent / "backups"
    folder.mkdir()
    of_another = folder / f"deployed.0001-manual.20260101T000000000000Z.db{suffix}"
    of_another.write_bytes(b"of another process")
    monkeypatch.setattr(Clock, "asked", 0)
    monkeypatch.setattr(backup_files, "datetime", Clock)
    made = make_backup(deployed_file, "0001", folder)
    assert made.name == "deployed.0001-manual.20260101T000000000001Z.db"
    assert row_hashes(made) == row_hashes(deployed_file)
    assert of_another.read_bytes() == b"of another process"
    assert sorted(folder.iterdir()) == sorted([of_another, made])


def test_a_failing_disk_does_not_lose_a_backup(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retries on a failing disk must not push out the copies from before the trouble."""
    folder = deployed_file.parent / "backups"
    before = make_backup(deployed_file, "0001", folder)

    def fail(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_WRITE"
        raise OperationalError("COMMIT", {}, error)

    monkeypatch.setattr("shortsdb.migration.rebuild_checks.RebuildChecks.check", fail)
    for number in range(1, KEPT + 2):
        with pytest.raises(MigrationRefused, match="either as it was or fully changed"):
            upgrade(deployed_file)
        kept = backups_of(deployed_file, folder)
        assert kept[0] == before
        assert len(kept) == number + 1


def test_the_command_does_not_touch_other_files_in_the_backup_folder(
    deployed_file: Path, tmp_path: Path
) -> None:
    backup = make_backup(deployed_file, "0001", tmp_path / "backups")
    beside = backup.with_name(f"{backup.name}-wal")
    beside.write_bytes(b"of another database")
    before, target = file_hash(backup), file_hash(deployed_file)
    url = ["--url", str(deployed_file)]
    refused = CliRunner().invoke(main, ["restore", str(backup), "--yes", *url])
    assert refused.exit_code == 1
    assert "beside it" in refused.output
    assert file_hash(backup) == before
    assert beside.read_bytes() == b"of another database"
    assert file_hash(deployed_file) == target


def test_every_backup_made_by_the_command_can_be_restored(deployed_file: Path) -> None:
    """This includes backups of newer releases, which undo a restore."""
    url = ["--url", str(deployed_file)]
    upgrade(deployed_file, backup="off")
    execute(deployed_file, "UPDATE alembic_version SET version_num = '0042'")
    rows = row_hashes(deployed_file)
    backup = CliRunner().invoke(main, ["backup", *url]).stdout.strip()
    execute(deployed_file, "DELETE FROM clips")
    assert CliRunner().invoke(main, ["restore", backup, "--yes", *url]).exit_code == 0
    assert row_hashes(deployed_file) == rows
    assert version(deployed_file) == ["0042"]
