"""shortsdb backups, restore --latest and verify, and which backups are kept."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from inspect_sqlite import execute, file_hash, row_hashes
from project import HEAD

from shortsdb.cli import main
from shortsdb.errors import OperationRefused
from shortsdb.sqlite import online_copy
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.backup_files import keep_newest, list_backups
from shortsdb.sqlite.restore import restore

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def url(deployed_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return the option for a deployed file; what `verify` makes goes into a folder of the test."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return ("--url", str(deployed_file))


def test_backups_says_when_and_why_each_was_made(deployed_file: Path, url: tuple[str, str]) -> None:
    folder = deployed_file.parent / "backups"
    said = f"{deployed_file} has no backup in {folder}"
    assert run("backups", *url).stdout == f"{said}.\n"
    lost = deployed_file.rename(deployed_file.with_name("lost.db"))
    assert run("backups", *url).stdout == f"{said}, and does not exist.\n"
    lost.rename(deployed_file)
    assert run("backups", "--json", *url).output == "[]\n"
    folder.mkdir()
    old = folder / "deployed.0001.20200101T000000000000Z.db"  # of an earlier release
    old.write_bytes(deployed_file.read_bytes())
    run("backup", *url)
    run("upgrade", *url)
    run("downgrade", "0001", "--yes", *url)
    run("restore", "--latest", "--yes", *url)
    found = json.loads(run("backups", "--json", *url).output)
    assert [(one["revision"], one["kind"], one["checked"]) for one in found] == [
        ("0001", None, None),
        ("0001", "manual", True),
        ("0001", "upgrade", True),
        (HEAD, "downgrade", True),
        ("0001", "restore", False),
    ]
    assert found[0]["made_at"] == "2020-01-01T00:00:00+00:00"
    assert found[0]["backup"] == str(old)
    assert found[0]["size_bytes"] == old.stat().st_size
    title, first, second, *_, last = run("backups", *url).output.splitlines()
    assert title.split() == ["when", "revision", "why", "MiB", "checked", "file"]
    assert first.split()[:4] == ["2020-01-01", "00:00:00", "0001", "-"]
    assert last.split()[2:4] == ["0001", "restore"]
    assert [line.split()[5] for line in (first, second, last)] == ["-", "yes", "no"]


def test_restore_takes_the_latest_or_the_one_that_is_named(
    deployed_file: Path, url: tuple[str, str]
) -> None:
    none = run("restore", "--latest", "--yes", *url)
    assert none.exit_code == 1
    assert "has no backup in" in none.output
    before = row_hashes(deployed_file)
    made = [run("backup", *url).stdout.splitlines()[-1] for _ in range(2)]
    execute(deployed_file, "DELETE FROM clips")
    for arguments, phrase in (
        ((), "name one backup, or say --latest"),
        ((made[0], "--latest"), "name one backup, or say --latest"),
        (made, "2 backups were named, and one is needed"),
    ):
        refused = run("restore", *arguments, "--yes", *url)
        assert refused.exit_code == 2
        assert phrase in refused.output
    asked = CliRunner().invoke(main, ["restore", "--latest", *url], input="n\n")
    assert made[1] in asked.output
    assert row_hashes(deployed_file) != before
    assert run("restore", "--latest", "--yes", *url).exit_code == 0
    assert row_hashes(deployed_file) == before
    off = run("restore", "--latest", "--backup", "off", *url)
    assert "the backup is switched off; name a folder" in off.output


def test_verify_restores_into_a_temporary_file(
    deployed_file: Path, url: tuple[str, str], tmp_path: Path
) -> None:
    run("upgrade", *url)
    (backup,) = list_backups(deployed_file, deployed_file.parent / "backups")
    before = file_hash(backup.path), file_hash(deployed_file)
    found = run("verify", "--latest", "--json", *url)
    assert found.exit_code == 0, found.output
    verified = json.loads(found.stdout)
    assert verified["ok"]
    assert verified["backup"] == str(backup.path)
    assert verified["version"]["shape"] == "0001"
    assert verified["rows"].keys() == {"clips", "discovered_videos", "pipeline_runs"}
    assert verified["rows"]["clips"] > 0
    assert "it can be restored" in run("verify", str(backup.path)).stdout
    assert (file_hash(backup.path), file_hash(deployed_file)) == before
    assert not list((tmp_path / "temporary").iterdir())


def test_verify_finds_what_is_wrong(
    deployed_file: Path, url: tuple[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    for change, phrase in (
        ("UPDATE clips SET pipeline_run_id = 777 WHERE id < 3", "2 rows of clips point to rows"),
        ("DROP TABLE clips", "table clips is missing"),
        # integrity_check compares indexes with their tables, quick_check does not.
        (
            """CREATE INDEX x ON clips (id); PRAGMA writable_schema = ON;
            UPDATE sqlite_master SET sql = 'CREATE INDEX x ON clips (id DESC)' WHERE name = 'x'""",
            "missing from index x",
        ),
    ):
        copy.write_bytes(deployed_file.read_bytes())
        execute(copy, change)
        found = run("verify", str(copy), *url)
        assert found.exit_code == 1, change
        assert phrase in found.stdout
        assert "something is wrong" in found.stdout
        assert not json.loads(run("verify", str(copy), "--json").stdout)["ok"]
    copy.write_bytes(b"not a database" * 1000)
    assert "is not an SQLite database" in run("verify", str(copy)).output
    assert run("verify", str(tmp_path / "nowhere.db")).exit_code == 1
    assert not list((tmp_path / "temporary").iterdir())


def make(file: Path, moment: datetime, kind: str) -> Path:
    path = file.parent / "backups" / f"deployed.0001-{kind}.{moment:%Y%m%dT%H%M%S%fZ}.db"
    path.touch()
    return path


@pytest.mark.parametrize(("keep", "kept"), [("3", 3), ("10d", 10), ("30d", 30), ("999", 40)])
def test_the_newest_of_each_kind_outlives_any_number_of_nightly_ones(
    deployed_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    keep: str,
    kept: int,
) -> None:
    caplog.set_level("INFO", "shortsdb")
    monkeypatch.setenv("SHORTSDB_BACKUP_KEEP", keep)
    folder = deployed_file.parent / "backups"
    folder.mkdir()
    now = datetime.now(UTC) - timedelta(hours=1)
    kinds = [make(deployed_file, now - timedelta(days=90), kind) for kind in ("upgrade", "restore")]
    older = make(deployed_file, now - timedelta(days=91), "upgrade")
    nightly = [make(deployed_file, now - timedelta(days=days), "manual") for days in range(40)]
    keep_newest(deployed_file, nightly[0])
    left = {backup.path for backup in list_backups(deployed_file, folder)}
    assert left == {*kinds, *nightly[:kept], *([older] if keep == "999" else [])}
    deleted = [message for message in caplog.messages if message.startswith("deleted")]
    assert len(deleted) == 43 - len(left)
    assert all("SHORTSDB_BACKUP_KEEP keeps" in message for message in deleted)
    assert all("the newest of each kind and the largest" in message for message in deleted)


def test_a_backup_deletes_the_old_ones(
    url: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_BACKUP_KEEP", "1")
    made = [run("backup", *url).stdout.splitlines()[-1] for _ in range(2)]
    (left,) = json.loads(run("backups", "--json", *url).output)
    assert left["backup"] == made[-1]


@pytest.mark.parametrize("keep", ["0", "-1", "0d", "many", "3 d", "1e3"])
def test_a_number_that_is_none_is_refused_before_anything_is_done(
    deployed_file: Path, url: tuple[str, str], monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    monkeypatch.setenv("SHORTSDB_BACKUP_KEEP", keep)
    before = file_hash(deployed_file)
    for command in ("upgrade", "backup"):
        refused = run(command, *url)
        assert refused.exit_code == 1
        assert "neither a number of backups nor of days" in refused.output
    assert file_hash(deployed_file) == before
    assert not (deployed_file.parent / "backups").exists()


def test_names_of_two_databases_are_never_mixed_up(deployed_file: Path) -> None:
    """The kind is a part of the name that no revision can be."""
    folder = deployed_file.parent / "backups"
    other = deployed_file.with_name("deployed.0001-manual.db")
    os.link(deployed_file, other)
    mine = make_backup(deployed_file, "0001", folder)
    others = make_backup(other, "up-grade", folder, "upgrade")
    assert [one.path for one in list_backups(deployed_file, folder)] == [mine]
    assert [one.path for one in list_backups(other, folder)] == [others]
    with pytest.raises(OperationRefused, match="is the database itself"):
        restore(other, deployed_file, None, None)


def test_an_empty_backup_is_neither_verified_nor_restored(
    deployed_file: Path, url: tuple[str, str]
) -> None:
    run("backup", *url)
    (backup,) = list_backups(deployed_file, deployed_file.parent / "backups")
    before = file_hash(deployed_file)
    for content in (b"", _empty_database(deployed_file.with_name("empty.db"))):
        backup.path.write_bytes(content)
        assert run("verify", "--latest", *url).exit_code == 1
        refused = run("restore", "--latest", "--yes", *url)
        assert refused.exit_code == 1
        assert "holds no tables; it was not restored" in refused.output
        assert file_hash(deployed_file) == before


def _empty_database(path: Path) -> bytes:
    execute(path, "CREATE TABLE t (x); DROP TABLE t")
    return path.read_bytes()


def test_a_second_restore_of_the_latest_does_not_undo_the_first(
    deployed_file: Path, url: tuple[str, str]
) -> None:
    run("backup", *url)
    before = row_hashes(deployed_file)
    execute(deployed_file, "DELETE FROM clips")
    for _ in range(2):
        assert run("restore", "--latest", "--yes", *url).exit_code == 0
        assert row_hashes(deployed_file) == before


def test_a_backup_is_read_as_a_file_that_nobody_writes_to(
    url: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0.1")
    backup = run("backup", *url).stdout.splitlines()[-1]
    with closing(sqlite3.connect(backup, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for command in (("verify",), ("restore", "--yes")):
            done = run(*command, backup, *url)
            assert done.exit_code == 0, done.output


def test_what_is_no_backup_is_refused_before_the_question(
    deployed_file: Path, url: tuple[str, str]
) -> None:
    """A database in use has a journal, which opening it as a backup would pass over."""
    refused = run("restore", str(deployed_file), *url)
    assert "is the database itself, not a backup of it" in refused.output
    copied = deployed_file.with_name("copied.db")
    copied.write_bytes(deployed_file.read_bytes())
    copied.with_name("copied.db-wal").write_bytes(b"x")
    other = run("restore", str(copied), *url)
    assert "copied.db has copied.db-wal beside it" in other.output
    assert "Replace" not in refused.output + other.output


@pytest.mark.parametrize("command", [("backups",), ("backup",), ("restore", "--latest")])
def test_what_is_no_file_has_no_backups(tmp_path: Path, command: tuple[str, ...]) -> None:
    refused = run(*command, "--url", str(tmp_path))
    assert refused.exit_code == 1
    assert f"{tmp_path} is a folder, not a database file" in refused.output


def test_the_question_is_printed_where_results_are(
    deployed_file: Path, url: tuple[str, str]
) -> None:
    backup = run("backup", *url).stdout.splitlines()[-1]
    run("upgrade", *url)
    before = file_hash(deployed_file)
    link = deployed_file.with_name("link.db")
    link.symlink_to(backup)
    asked = CliRunner().invoke(main, ["restore", str(link), *url], input="n\n")
    assert asked.exit_code == 1
    assert asked.stdout.startswith(
        f"Replace {deployed_file} (revision {HEAD}) by {backup} (revision 0001)? [y/N]: "
    )
    assert file_hash(deployed_file) == before


@pytest.mark.parametrize("content", [None, b"", b"damaged"], ids=["missing", "empty", "damaged"])
def test_what_has_no_revision_is_not_replaced_without_asking(
    deployed_file: Path, url: tuple[str, str], content: bytes | None
) -> None:
    backup = run("backup", *url).stdout.splitlines()[-1]
    deployed_file.unlink()
    if content is not None:
        deployed_file.write_bytes(content)
    asked = CliRunner().invoke(main, ["restore", backup, *url], input="n\n")
    assert asked.exit_code == 1
    assert asked.stdout.startswith(f"Replace {deployed_file} (revision none) by {backup}")
    assert (deployed_file.read_bytes() if deployed_file.exists() else None) == content


def test_a_database_of_a_newer_release_is_put_back_from_its_own_backup(
    deployed_file: Path, url: tuple[str, str]
) -> None:
    run("upgrade", *url)
    execute(deployed_file, "UPDATE alembic_version SET version_num = '0999'")
    before = row_hashes(deployed_file)
    backup = run("backup", *url).stdout.splitlines()[-1]
    copied = shutil.copy(backup, deployed_file.with_name("copied.db"))
    execute(deployed_file, "DELETE FROM clips")
    refused = run("restore", str(copied), "--yes", *url)
    assert refused.exit_code == 1
    assert "is at revision 0999, which this release does not know" in refused.output
    assert row_hashes(deployed_file) != before
    assert run("restore", backup, "--yes", *url).exit_code == 0
    assert row_hashes(deployed_file) == before


def test_names_are_printed_without_control_characters(deployed_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a\nb\x1b[2J"
    folder.mkdir()
    file = deployed_file.rename(folder / "d.db")
    for command in (("backup",), ("backups",), ("verify", "--latest"), ("restore", "--latest")):
        done = CliRunner().invoke(main, [*command, "--url", str(file)], input="n\n")
        assert "\x1b" not in done.output
        assert "a\\nb\\x1b[2J" in done.stdout


def test_only_regular_files_of_the_right_name_are_backups(
    deployed_file: Path, url: tuple[str, str]
) -> None:
    run("backup", *url)
    folder = deployed_file.parent / "backups"
    there = list_backups(deployed_file, folder)
    (folder / "deployed.0001-manual.20990101T000000000000Z.db").symlink_to("nowhere")
    (folder / "deployed.0001-manual.20990101T000000000001Z.db").mkdir()
    other = folder / "deployed.of.another.db.partial"
    other.touch()
    os.utime(other, (0, 0))
    assert list_backups(deployed_file, folder) == there
    run("backup", *url)
    assert other.exists()


def test_backups_of_a_lost_database_outlive_those_of_the_one_begun_anew(
    deployed_file: Path, url: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    execute(deployed_file, "CREATE TABLE large (x)")
    execute(deployed_file, "INSERT INTO large VALUES (zeroblob(200000))")
    lost = json.loads(run("backup", "--json", *url).output)["backup"]
    deployed_file.unlink()
    assert run("upgrade", *url).exit_code == 0
    assert f"{lost} is a backup of a database at this path" in caplog.text
    for _ in range(7):
        assert run("backup", *url).exit_code == 0
    assert lost in [one["backup"] for one in json.loads(run("backups", "--json", *url).output)]


def test_a_file_without_tables_is_not_backed_up(tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    refused = run("backup", "--url", str(empty))
    assert refused.exit_code == 1
    assert "empty.db holds no tables" in refused.output
    assert not (tmp_path / "backups").exists()


@pytest.mark.parametrize("command", [("backups",), ("verify", "--latest"), ("restore", "--latest")])
def test_a_named_folder_that_is_not_there_has_no_backups_to_speak_of(
    url: tuple[str, str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    refused = run(*command, *url, "--backup", str(tmp_path / "unmounted"))
    assert refused.exit_code == 1
    assert "the folder for backups" in refused.output
    assert "does not exist" in refused.output


def test_a_restore_looks_for_room_before_it_copies_anything(
    deployed_file: Path, url: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(deployed_file, "CREATE TABLE large (x)")
    execute(deployed_file, "INSERT INTO large VALUES (zeroblob(2000000))")
    run("backup", *url)
    folder = deployed_file.parent / "backups"
    (backup,) = folder.iterdir()
    free = backup.stat().st_size * 3 // 2  # for one of two copies
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    refused = run("restore", "--yes", *url, str(backup))
    assert refused.exit_code == 1
    assert "MiB are needed" in refused.output
    assert list(folder.iterdir()) == [backup]


def test_a_full_folder_of_backups_is_named(
    deployed_file: Path, url: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect_full(file: Path, expected: os.stat_result | None = None) -> sqlite3.Connection:
        connection = connect_new(file, expected)
        connection.execute("PRAGMA max_page_count = 2")  # SQLite then fails as on a full disk
        return connection

    connect_new = online_copy.connect_new
    monkeypatch.setattr(online_copy, "connect_new", connect_full)
    refused = run("backup", *url)
    assert refused.exit_code == 1
    folder = deployed_file.parent / "backups"
    assert f"the backup in {folder} does not fit its file system any more" in refused.output
    assert not list(folder.iterdir())
