"""Every refusal: an unchanged file, one plain message, exit code not 0, no traceback."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import legacy_database
import pytest
from alembic import command
from click.testing import CliRunner
from inspect_sqlite import execute, file_hash, row_hashes, version
from project import HEAD, PROGRAMS, ROOT

from shortsdb.cli import main
from shortsdb.migration import MigrationRefused
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from project import Program


def head(path: Path) -> None:
    legacy_database.make(path)
    command.upgrade(alembic_config(str(path), backup="off"), "head")


def not_a_database(path: Path) -> None:
    path.write_text("This is the channel's state, honestly. " * 100)


def versioned(path: Path) -> None:
    legacy_database.make(path, 2_000)
    execute(
        path,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);"
        "INSERT INTO alembic_version VALUES ('0002')",
    )


def damaged_page(path: Path) -> None:
    versioned(path)
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096)


def damaged_schema(path: Path) -> None:
    legacy_database.make(path)
    execute(
        path,
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET sql = 'CREATE TABLE clips (' WHERE name = 'clips'",
    )


def truncated(path: Path) -> None:
    versioned(path)
    os.truncate(path, path.stat().st_size // 2)


def newer(path: Path) -> None:
    head(path)
    execute(path, "UPDATE alembic_version SET version_num = '0042'")


def of_other_software(path: Path) -> None:
    legacy_database.make(path)
    execute(
        path,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);"
        "INSERT INTO alembic_version VALUES ('ae1027a6acf')",
    )


def two_versions(path: Path) -> None:
    head(path)
    execute(path, "INSERT INTO alembic_version VALUES ('0003')")


def interrupted_rebuild(path: Path) -> None:
    legacy_database.make(path)
    execute(path, "CREATE TABLE _alembic_tmp_clips (id INTEGER PRIMARY KEY)")


def empty_version(path: Path) -> None:
    head(path)
    execute(path, "UPDATE alembic_version SET version_num = ''")


def name_of_bytes(path: Path) -> None:
    legacy_database.make(path)
    execute(
        path,
        "PRAGMA writable_schema = ON; CREATE TABLE other (x);"
        "UPDATE sqlite_master SET name = x'6f74686572', tbl_name = x'6f74686572'"
        " WHERE name = 'other'",
    )


def name_of_strange_bytes(path: Path) -> None:
    name_of_bytes(path)
    execute(
        path,
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET name = x'6f7468ff', tbl_name = x'6f7468ff' WHERE rowid ="
        " (SELECT max(rowid) FROM sqlite_master)",
    )


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (not_a_database, "is not an SQLite database"),
        (damaged_page, "is damaged"),
        (damaged_schema, "is damaged (malformed database schema (clips)"),
        (truncated, "is damaged"),
        (newer, f"at revision 0042, and this release knows none after {HEAD}: newer code made it"),
        (of_other_software, "at revision 'ae1027a6acf', which is not a revision of this release"),
        (two_versions, f"has 2 versions (0003, {HEAD}) where there can be one"),
        (interrupted_rebuild, "_alembic_tmp_clips: the rebuild of a table by another tool"),
        (empty_version, "at revision '', which is not a revision of this release"),
        (name_of_bytes, "holds an object whose name is b'other', not text"),
        (name_of_strange_bytes, "holds an object whose name is not UTF-8"),
        (a_folder, "is a folder, not a database file"),
    ],
)
@pytest.mark.parametrize("arguments", [["upgrade", "head"], ["downgrade", "0001"]])
def test_refused(
    alembic: Program,
    tmp_path: Path,
    make: Callable[[Path], None],
    phrase: str,
    arguments: list[str],
) -> None:
    path = tmp_path / "d.db"
    make(path)
    before = file_hash(path) if path.is_file() else None

    done = alembic("-x", f"url={path}", *arguments)

    assert done.returncode != 0
    (message,) = done.stdout.splitlines()
    assert message.startswith("FAILED: ")
    assert str(path) in message
    assert phrase in message
    assert "Traceback" not in done.stderr
    assert (file_hash(path) if path.is_file() else None) == before
    assert not list(tmp_path.glob("backups/*"))


@pytest.mark.parametrize(
    "make",
    [newer, of_other_software, two_versions, interrupted_rebuild, empty_version, name_of_bytes],
)
def test_status_reports_the_refusal_before_an_upgrade(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """A script that asks for the status hears of the refusal, and that nothing is pending."""
    path = tmp_path / "d.db"
    make(path)
    done = CliRunner().invoke(main, ["status", "--json", "--url", str(path)])
    found = json.loads(done.stdout)
    assert (found["known"], found["shape"], found["pending"]) == (False, None, [])
    assert CliRunner().invoke(main, ["status", "--exit-code", "--url", str(path)]).exit_code == 1
    if make in {interrupted_rebuild, name_of_bytes}:
        assert path.name in found["misfit"]


def test_a_blob_as_table_name_at_head_is_refused(tmp_path: Path) -> None:
    """Neither does `upgrade` say that nothing is to do, although nothing is pending."""
    path = tmp_path / "d.db"
    name_of_bytes(path)
    execute(path, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    execute(path, f"INSERT INTO alembic_version VALUES ('{HEAD}')")
    os.utime(path, (0, 0))
    for arguments in (["upgrade"], ["status", "--exit-code"], ["check"]):
        done = CliRunner().invoke(main, [*arguments, "--url", str(path)])
        assert done.exit_code == 1
        assert "holds an object whose name is b'other', not text" in done.output


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def test_a_locked_file_is_said_to_be_locked(alembic: Program, deployed_file: Path) -> None:
    before = file_hash(deployed_file)
    with locked(deployed_file):
        done = alembic("-x", f"url={deployed_file}", "upgrade", "head", SHORTSDB_LOCK_TIMEOUT="0.2")
    assert done.returncode != 0
    assert "is locked by another process for longer than 0.2 s" in done.stdout
    assert "read-only" not in done.stdout
    assert "Traceback" not in done.stderr
    assert file_hash(deployed_file) == before
    assert not list(deployed_file.parent.glob("backups/*"))


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "1e12"])
def test_a_strange_lock_timeout_is_refused(
    deployed_file: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", given)
    with pytest.raises(MigrationRefused, match="SHORTSDB_LOCK_TIMEOUT"):
        command.upgrade(alembic_config(str(deployed_file)), "head")


def run_without_privileges(path: Path) -> subprocess.CompletedProcess[str]:
    """Upgrade `path` as a user for whom permissions hold; root ignores them."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    program = [str(PROGRAMS / "alembic"), "-c", str(ROOT / "alembic.ini"), "-x", f"url={path}"]
    return subprocess.run(
        [*(drop if os.geteuid() == 0 else []), *program, "upgrade", "head"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("target", "mode", "phrase"),
    [
        ("file", 0o000, "no permission to read it"),
        ("file", 0o400, "cannot be written: the file or its file system is read-only"),
        ("folder", 0o500, "cannot be written, and SQLite needs its journal there"),
        ("folder", 0o400, "no permission to access the folder"),
    ],
)
def test_missing_permission_is_refused(tmp_path: Path, target: str, mode: int, phrase: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    path = legacy_database.make(folder / "d.db")
    before = file_hash(path)
    changed = path if target == "file" else folder
    changed.chmod(mode)
    try:
        done = run_without_privileges(path)
    finally:
        changed.chmod(0o700)
    assert done.returncode != 0
    assert phrase in done.stdout
    assert "Traceback" not in done.stderr
    assert file_hash(path) == before
    assert [entry.name for entry in folder.iterdir()] == ["d.db"]


def run_in_small_file_system(
    path: Path, tmp_path: Path, prepare: str, *, read_only: bool = False
) -> subprocess.CompletedProcess[str]:
    """Upgrade a copy of `path` on a separate file system of 2 MiB, then print its hash."""
    mount = tmp_path / "mount"
    mount.mkdir()
    alembic = shlex.join([str(PROGRAMS / "alembic"), "-c", str(ROOT / "alembic.ini")])
    script = (
        f"mount -t tmpfs -o size=2m none {mount} && cp {path} {mount}/d.db && {prepare}"
        f"{f' && mount -o remount,ro {mount}' if read_only else ''};"
        f"{alembic} -x url={mount}/d.db upgrade head; code=$?;"
        f"sha256sum < {mount}/d.db; ls {mount}; exit $code"
    )
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],  # noqa: S607 - Debian's
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("prepare", "read_only", "phrase"),
    [
        ("true", True, "the file or its file system is read-only"),
        ("dd if=/dev/zero of={mount}/x bs=1k count=1500", False, "MiB free and"),
    ],
    ids=["read-only", "full"],
)
def test_a_bad_file_system_is_refused(
    deployed_file: Path, tmp_path: Path, prepare: str, phrase: str, *, read_only: bool
) -> None:
    prepare = prepare.format(mount=tmp_path / "mount")
    done = run_in_small_file_system(deployed_file, tmp_path, prepare, read_only=read_only)
    assert done.returncode != 0
    assert phrase in done.stdout
    assert "Traceback" not in done.stderr
    assert file_hash(deployed_file) in done.stdout
    assert "partial" not in done.stdout


def test_broken_foreign_keys_do_not_stop_an_upgrade_that_does_not_touch_them(
    deployed_file: Path,
) -> None:
    execute(deployed_file, "UPDATE clips SET pipeline_run_id = 777 WHERE id < 3")
    before = row_hashes(deployed_file)
    command.upgrade(alembic_config(str(deployed_file)), "head")
    assert version(deployed_file) == [HEAD]
    assert row_hashes(deployed_file).items() >= before.items()


def test_stamp_purge_repairs_two_versions(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    two_versions(path)
    command.stamp(alembic_config(str(path)), HEAD, purge=True)
    assert version(path) == [HEAD]


def test_a_virtual_table_without_its_module_is_ignored(deployed_file: Path) -> None:
    execute(
        deployed_file,
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_master"
        " VALUES ('table', 'vectors', 'vectors', 0, 'CREATE VIRTUAL TABLE vectors USING vec0(a)')",
    )
    command.upgrade(alembic_config(str(deployed_file)), "head")
    command.check(alembic_config(str(deployed_file)))
    assert version(deployed_file) == [HEAD]
