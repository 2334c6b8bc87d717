"""What a preview says of a migration, field by field."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import extra_revision
import pytest
from alembic import command
from inspect_sqlite import execute, file_hash
from project import HEAD, NEXT

from shortsdb.errors import OperationRefused
from shortsdb.migration import MigrationRefused, alembic_config, preview, preview_migration
from shortsdb.migration.preview import Preview, TableEffect, is_downgrade
from shortsdb.migration.revisions import revision_ids
from shortsdb.models import metadata
from shortsdb.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from alembic.config import Config
    from postgresql_server import Database

IDS = revision_ids()


@pytest.mark.parametrize(
    ("revision", "at", "back"),
    [
        ("-1", "0003", True),
        ("-1", None, True),
        ("base", "0003", True),
        ("base", None, True),
        ("0002", "0003", True),
        ("0003", "0003", False),
        ("0004", "0003", False),
        ("0002", None, False),
        ("0000", "0003", False),
        ("head", "ä", False),
        ("+1", "0003", False),
    ],
)
def test_a_downgrade_is_told_by_its_destination(
    revision: str, at: str | None, *, back: bool
) -> None:
    assert is_downgrade(revision, at, IDS) is back


@pytest.mark.parametrize(
    ("at", "to", "back"),
    [
        (None, "0003", False),
        (None, None, False),
        ("0003", None, True),
        ("0003", "0002", True),
        ("0003", "0003", False),
        ("0003", "0004", False),
    ],
)
def test_a_preview_knows_its_direction(at: str | None, to: str | None, *, back: bool) -> None:
    nothing = Preview(
        database="d.db",
        at=at,
        adopts=False,
        to=to,
        revisions={},
        tables=[],
        changes_rows={},
        backup_folder=None,
        backup_bytes=None,
        backup_free_bytes=None,
        open_by=None,
    )
    assert nothing.goes_back is back


def of(file: Path, revision: str = "head", **options: object) -> Preview:
    return preview_migration(Target.parse(str(file)), alembic_config(), revision, **options)  # type: ignore[arg-type]


def size_of(file: Path, table: str) -> int:
    """Return how many bytes a table and its indexes take, page by page."""
    with closing(sqlite3.connect(file)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE tbl_name = ?", (table,))
        return sum(
            connection.execute("SELECT sum(pgsize) FROM dbstat WHERE name = ?", name).fetchone()[0]
            for name in names.fetchall()
        )


def test_an_upgrade_of_an_unversioned_file(
    deployed_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = file_hash(deployed_file)
    with caplog.at_level(logging.INFO, "shortsdb"):
        found = of(deployed_file, "0003")
    # The rehearsal in memory is nobody's business.
    assert not [record for record in caplog.records if record.name.startswith("shortsdb")]
    assert found.backup_free_bytes
    assert replace(found, revisions={}, backup_free_bytes=None) == Preview(
        database=str(deployed_file),
        at="0001",
        adopts=True,
        to="0003",
        revisions={},
        tables=[TableEffect("scripts", "created"), TableEffect("tts_audio", "created")],
        changes_rows={},
        backup_folder=str(deployed_file.parent / "backups"),
        backup_bytes=deployed_file.stat().st_size,
        backup_free_bytes=None,
        open_by=[],
    )
    assert list(found.revisions) == ["0002", "0003"]
    assert file_hash(deployed_file) == before


def test_a_downgrade(full_file: Path) -> None:
    found = of(full_file, "0006", backup="off")
    assert (found.at, found.to, found.adopts) == (HEAD, "0006", False)
    assert list(found.revisions) == [HEAD, "0007"]
    assert found.tables == [
        TableEffect(table, "dropped", 2, size_of(full_file, table))
        for table in ("config_overrides", "error_logs")
    ]
    assert (found.backup_folder, found.backup_bytes, found.backup_free_bytes) == (None, None, None)


def test_a_downgrade_of_empty_tables_to_base(tmp_path: Path, head_file: Path) -> None:
    path = tmp_path / "d.db"
    path.write_bytes(head_file.read_bytes())
    found = of(path, "base")
    assert (found.at, found.to) == (HEAD, None)
    assert list(found.revisions) == IDS[::-1]
    assert {(one.effect, one.rows) for one in found.tables} == {("dropped", 0)}
    assert [one.table for one in found.tables] == sorted(one.table for one in found.tables)
    assert len(found.tables) == 10
    assert found.backup_folder is None  # there is no row to back up
    execute(path, "INSERT INTO config_overrides VALUES ('k', 'v', '2026-01-01', 'me')")
    assert of(path, "base").to is None  # rows of later tables may be dropped
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO pipeline_runs (niche, cycle_start, cycle_end, status, retry_count)"
            " VALUES ('n', '2026-01-01', '2026-01-02', 'pending', 0)"
        )
    with pytest.raises(MigrationRefused, match="below 0001 would drop pipeline_runs with the rows"):
        of(path, "base")
    assert of(path, "0001").to == "0001"


def test_there_is_nothing_to_do_at_the_destination(full_file: Path) -> None:
    found = of(full_file)
    assert (found.at, found.to, found.revisions, found.tables) == (HEAD, HEAD, {}, [])
    assert found.backup_folder is None


def test_where_nothing_is_backed_up_no_folder_is_read(head_file: Path, tmp_path: Path) -> None:
    unreadable = tmp_path / ("x" * 300)
    assert of(head_file, "0007", backup=str(unreadable)).backup_folder is None  # there is no row


def test_the_caller_may_say_the_direction(deployed_file: Path) -> None:
    command.upgrade(alembic_config(str(deployed_file), backup="off"), "0003")
    assert of(deployed_file, "0005").to == "0005"
    with pytest.raises(MigrationRefused, match=r"^the database is not past 0005"):
        of(deployed_file, "0005", back=True)
    assert of(deployed_file, "0002").to == "0002"
    assert of(deployed_file, "0002", back=False).to == "0003"


def test_what_revisions_do_to_tables_and_say_of_rows(full_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "revisions"
    folder.mkdir()
    rebuild = "with op.batch_alter_table('{}', recreate='always') as batch:\n    {}\n"
    add = "batch.add_column(sa.Column('score', sa.Float))"
    extra_revision.add(
        folder,
        rebuild.format("clips", add) + "op.execute('DROP TABLE error_logs')\n"
        "op.add_column('scripts', sa.Column('score', sa.Float))\n"
        "op.create_table('more', sa.Column('id', sa.Integer, primary_key=True))\n"
        "op.create_table('another', sa.Column('id', sa.Integer, primary_key=True),"
        " sqlite_autoincrement=True)",
        attributes='changes_rows = {"clips": "they get a score"}',
    )
    extra_revision.add(folder, "pass", attributes='changes_rows = {"x": "later"}', place=2)
    config = extra_revision.config(folder, full_file)
    found = preview_migration(Target.parse(str(full_file)), config, NEXT)
    assert found.to == NEXT
    assert found.tables == [
        TableEffect("another", "created"),
        TableEffect("more", "created"),
        TableEffect("clips", "rebuilt", 18, size_of(full_file, "clips")),
        TableEffect("error_logs", "dropped", 2, size_of(full_file, "error_logs")),
        TableEffect("scripts", "altered", 2, size_of(full_file, "scripts")),
    ]
    assert size_of(full_file, "clips") > 4096  # with its indexes
    assert found.changes_rows == {"clips": "they get a score"}
    assert found.revisions == {NEXT: "A revision of a test."}
    assert "connection" not in config.attributes


def test_a_table_that_is_made_again_as_it_was_is_rebuilt(full_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "revisions"
    folder.mkdir()
    extra_revision.add(
        folder,
        "ddl = sa.text(\"SELECT sql FROM sqlite_master WHERE name = 'config_overrides'\")\n"
        "ddl = op.get_bind().scalar(ddl)\n"
        "op.drop_table('config_overrides')\n"
        "op.create_table('more', sa.Column('id', sa.Integer, primary_key=True))\n"
        "op.execute(ddl)",
    )
    config = extra_revision.config(folder, full_file)
    found = preview_migration(Target.parse(str(full_file)), config, NEXT)
    assert [(one.table, one.effect) for one in found.tables] == [
        ("more", "created"),
        ("config_overrides", "rebuilt"),
    ]


def test_the_connection_of_a_failed_rehearsal_is_taken_out_of_the_configuration(
    deployed_file: Path,
) -> None:
    config = alembic_config()
    with pytest.raises(MigrationRefused, match="this release knows"):
        preview_migration(Target.parse(str(deployed_file)), config, "0042")
    assert "connection" not in config.attributes


def test_a_size_that_sqlite_does_not_tell_is_none(
    full_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scalar = preview._scalar  # noqa: SLF001 - SQLite without dbstat cannot be had in the process

    def without_dbstat(connection: object, sql: str, table: str | None = None) -> object:
        return scalar(connection, sql.replace("dbstat", "no_such_table"), table)  # type: ignore[arg-type]

    monkeypatch.setattr(preview, "_scalar", without_dbstat)
    found = of(full_file, "0007")
    assert found.tables == [TableEffect("error_logs", "dropped", 2, None)]


def test_what_an_upgrade_refuses_is_refused(
    deployed_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OperationRefused, match="nowhere does not exist; nothing was changed"):
        of(deployed_file, backup=str(tmp_path / "nowhere"))
    with pytest.raises(MigrationRefused, match="has no version, so there is nothing to downgrade"):
        of(deployed_file, "base")
    execute(deployed_file, "ALTER TABLE clips DROP COLUMN end_time_seconds")
    with pytest.raises(MigrationRefused, match="does not fit"):
        of(deployed_file)
    with pytest.raises(OperationRefused, match="unmounted does not exist"):
        of(tmp_path / "unmounted" / "d.db")
    new = of(tmp_path / "new.db")
    assert (new.at, new.to, new.backup_folder, new.open_by) == (None, HEAD, None, None)
    assert (new.adopts, list(new.revisions)) == (False, IDS)
    assert new.tables == [TableEffect(name, "created") for name in sorted(metadata.tables)]
    monkeypatch.setenv("SHORTSDB_MUST_EXIST", "1")
    with pytest.raises(MigrationRefused, match="must exist"):
        of(tmp_path / "new.db")


def test_what_must_exist_may_exist(deployed_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORTSDB_MUST_EXIST", "1")
    assert of(deployed_file).at == "0001"


def test_a_strange_version_is_refused(full_file: Path) -> None:
    execute(full_file, "UPDATE alembic_version SET version_num = '0042'")
    with pytest.raises(MigrationRefused, match="newer code made it"):
        of(full_file)


def test_the_database_in_memory_is_closed(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    upgrade = command.upgrade

    def and_remember(config: Config, revision: str) -> None:
        opened.append(config.attributes["connection"].connection.driver_connection)
        upgrade(config, revision)

    monkeypatch.setattr(command, "upgrade", and_remember)
    of(deployed_file)
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    assert len(opened) == 2


def test_on_postgresql(target: Database) -> None:
    """Which alters in place what SQLite rebuilds; in the names of the server."""
    command.upgrade(alembic_config(target.url), "0007")
    target.psql("INSERT INTO config_overrides VALUES ('k', 'v', now(), 'me')")
    found = preview_migration(Target.parse(target.url), alembic_config(), "0006")
    (dropped,) = found.tables
    assert (dropped.table, dropped.effect, dropped.rows) == ("config_overrides", "dropped", 1)
    size = target.psql("SELECT pg_total_relation_size('config_overrides')")
    assert dropped.size_bytes == int(size)
    assert (found.at, found.to, found.adopts) == ("0007", "0006", False)
    assert (found.backup_folder, found.open_by) == (None, None)


def test_what_sqlite_rebuilds_is_altered_on_postgresql(target: Database, tmp_path: Path) -> None:
    body = "with op.batch_alter_table('clips', recreate='auto') as batch:\n    {}"
    change = "batch.alter_column('extraction_method', type_=sa.Text)"
    extra_revision.add(tmp_path, body.format(change))
    command.upgrade(alembic_config(target.url), "head")
    config = extra_revision.config(tmp_path, None)
    found = preview_migration(Target.parse(target.url), config, "head")
    assert [(one.table, one.effect) for one in found.tables] == [("clips", "altered")]
