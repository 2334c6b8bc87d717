"""The status of a database field by field, and why one cannot be compared with the models."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from alembic import command
from inspect_sqlite import execute
from project import HEAD

from shortsdb.errors import OperationRefused
from shortsdb.migration import alembic_config
from shortsdb.migration.revisions import revision_ids
from shortsdb.migration.status import (
    Status,
    outdated,
    read_applied,
    read_file,
    read_status,
    versioned_schemas,
)
from shortsdb.sqlite.backup_files import backups_of
from shortsdb.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database

IDS = revision_ids()
AT_HEAD = Status(
    database="d.db",
    revision=HEAD,
    shape=None,
    misfit=None,
    known=True,
    head=HEAD,
    pending=[],
    exists=True,
    size_bytes=4096,
    journal_mode="delete",
    last_backup=None,
)


def of(path: Path, backup: str | None = None) -> Status:
    return read_status(Target.parse(str(path)), backup)


def test_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    assert of(path) == replace(
        AT_HEAD,
        database=str(path),
        revision=None,
        known=False,
        pending=IDS,
        exists=False,
        size_bytes=None,
        journal_mode=None,
    )
    assert not path.exists()


def test_of_a_deployed_file(deployed_file: Path) -> None:
    execute(deployed_file, "PRAGMA journal_mode = wal")
    assert of(deployed_file) == replace(
        AT_HEAD,
        database=str(deployed_file),
        revision=None,
        shape="0001",
        pending=IDS[1:],
        size_bytes=deployed_file.stat().st_size,
        journal_mode="wal",
    )


def test_of_a_file_at_head_with_backups(deployed_file: Path, tmp_path: Path) -> None:
    config = alembic_config(str(deployed_file))
    command.upgrade(config, "0002")
    command.upgrade(config, "head")
    first, last = backups_of(deployed_file, tmp_path / "backups")
    expected = replace(
        AT_HEAD,
        database=str(deployed_file),
        size_bytes=deployed_file.stat().st_size,
        last_backup=str(last),
    )
    assert of(deployed_file) == expected
    assert of(deployed_file, str(tmp_path)).last_backup is None
    assert of(deployed_file, "off").last_backup is None
    last.unlink()
    assert of(deployed_file).last_backup == str(first)


def test_of_a_file_that_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    execute(path, "CREATE TABLE clips (id)")
    found = of(path)
    assert (found.known, found.pending, found.shape, found.revision) == (False, [], None, None)
    assert found.misfit
    assert found.misfit.startswith(f"{path} has no version and does not fit")


def test_a_folder_of_backups_that_cannot_be_read_is_refused(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deployed_file.parent / "backups"
    folder.mkdir()

    def forbidden(self: Path) -> None:  # root may read any folder
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.iterdir", forbidden)
    with pytest.raises(OperationRefused) as refused:
        of(deployed_file)
    assert str(refused.value) == f"{deployed_file}: {folder} cannot be read (Permission denied)"


@pytest.fixture
def damaged(deployed_file: Path) -> Path:
    """Return a file whose schema cannot be parsed."""
    execute(
        deployed_file,
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET sql = 'CREATE TABLE clips (' WHERE name = 'clips'",
    )
    return deployed_file


def test_a_damaged_file_is_refused(damaged: Path) -> None:
    for read in (of, read_file, lambda path: read_applied(Target.parse(str(path)))):
        with pytest.raises(OperationRefused, match=r"deployed\.db is damaged"):
            read(damaged)


def test_a_file_that_nobody_writes_to_is_read_past_its_locks(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0")
    with closing(sqlite3.connect(deployed_file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        version, _ = read_file(deployed_file, immutable=True)
        assert version.shape == "0001"
        with pytest.raises(OperationRefused, match="is locked"):
            read_file(deployed_file)


def test_the_history_of_a_file(deployed_file: Path, tmp_path: Path) -> None:
    target = Target.parse(str(deployed_file))
    assert read_applied(target) == []
    command.upgrade(alembic_config(str(deployed_file), backup="off"), "head")
    assert [(one.action, one.to_revision) for one in read_applied(target)] == [
        ("adoption", "0001"),
        ("upgrade", HEAD),
    ]
    with pytest.raises(OperationRefused, match=r"gone\.db does not exist"):
        read_applied(Target.parse(str(tmp_path / "gone.db")))


def test_on_postgresql(target: Database) -> None:
    found = Target.parse(target.url)
    empty = replace(
        AT_HEAD,
        database=found.name,
        revision=None,
        known=False,
        pending=IDS,
        exists=None,
        size_bytes=None,
        journal_mode=None,
    )
    assert read_status(found, None) == empty
    assert read_applied(found) == []
    assert versioned_schemas(found) == []
    for schema, to in (("two", "0003"), ("one", "0002"), (None, "0004")):
        command.upgrade(alembic_config(target.url, schema=schema), to)
    assert versioned_schemas(found) == ["one", "public", "two"]
    at = replace(empty, revision="0004", known=True, pending=IDS[4:])
    assert read_status(found, None) == at
    assert [one.to_revision for one in read_applied(found)] == ["0004"]
    two = Target.parse(target.url, "two")
    assert [one.to_revision for one in read_applied(two)] == ["0003"]
    target.psql("DELETE FROM alembic_version")
    shown = read_status(found, None)
    assert (shown.revision, shown.known, shown.pending) == (None, False, [])
    target.psql("INSERT INTO alembic_version VALUES ('0042')")
    shown = read_status(found, None)
    assert (shown.revision, shown.known, shown.pending) == ("0042", False, [])


def test_a_file_has_no_schemas(tmp_path: Path) -> None:
    with pytest.raises(OperationRefused, match="has no schemas"):
        versioned_schemas(Target.parse(str(tmp_path / "d.db")))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"exists": None}, None),
        ({"misfit": "it does not fit", "exists": False, "pending": ["0008"]}, "it does not fit"),
        (
            {"revision": None, "exists": False, "pending": IDS, "known": False},
            "d.db does not exist; check the path (upgrade would create it)",
        ),
        (
            {"revision": "0042", "known": False},
            (
                "d.db is at revision 0042, which this release does not know: upgrade the "
                "package, or check that this is the right database"
            ),
        ),
        (
            {"revision": "0006", "pending": ["0007", "0008"]},
            (
                "d.db is behind the models: revision 0006, pending 0007, 0008. Upgrade it, then "
                "look again"
            ),
        ),
        (
            {"revision": None, "shape": "0001", "pending": ["0002"]},
            (
                "d.db is behind the models: revision none, but the shape of 0001, pending 0002. "
                "Upgrade it, then look again"
            ),
        ),
        (
            {"revision": None, "known": False, "pending": ["0001"]},
            "d.db is behind the models: revision none, pending 0001. Upgrade it, then look again",
        ),
    ],
)
def test_why_a_database_cannot_be_compared(changes: dict[str, object], reason: str | None) -> None:
    assert outdated(replace(AT_HEAD, **changes)) == reason  # type: ignore[arg-type]
