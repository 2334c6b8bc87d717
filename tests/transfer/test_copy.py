"""Copies between SQLite and PostgreSQL: every row, in both directions, and invalid values."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import stat
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import legacy_database
import psycopg
import pytest
from alembic import command
from click.testing import CliRunner
from inspect_sqlite import execute, file_hash, row_counts, row_hashes, version
from project import HEAD, PROGRAMS
from sample_rows import fill_new_tables, later_tables
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from shortsdb.cli import main
from shortsdb.migration import MigrationRefused
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import Base
from shortsdb.transfer import copy
from shortsdb.transfer.pgcopy import RowFormat

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database, Server


def rows_of(url: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row as the models see it."""
    engine = create_engine(url)
    with Session(engine) as session:
        rows = {
            model.__tablename__: sorted(
                (row.to_dict() for row in session.scalars(select(model))), key=repr
            )
            for model in Base.__subclasses__()
        }
    engine.dispose()
    return rows


def contents(database: Database) -> str:
    """Return a hash of all that a PostgreSQL database holds: schema, rows and sequences."""
    return hashlib.sha256(database.dump().encode()).hexdigest()


def test_there_and_back_again(full_file: Path, target: Database, tmp_path: Path) -> None:
    before = file_hash(full_file)
    there = copy(str(full_file), target.url)
    assert file_hash(full_file) == before
    assert rows_of(target.url) == rows_of(f"sqlite:///{full_file}")
    assert [table.table for table in there] == [t.name for t in Base.metadata.sorted_tables]
    assert {table.table: table.rows for table in there} == row_counts(full_file)
    command.check(alembic_config(target.url))

    back = tmp_path / "back.db"
    assert copy(target.url, str(back)) == there
    assert rows_of(f"sqlite:///{back}") == rows_of(f"sqlite:///{full_file}")
    assert stat.S_IMODE(back.stat().st_mode) == 0o600
    assert version(back) == [HEAD]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.db", "deployed.db"]
    command.check(alembic_config(str(back)))
    (tmp_path / "other.db-wal").write_bytes(b"of a database that was deleted alone")
    with pytest.raises(MigrationRefused, match=r"other\.db does not exist, but other\.db-wal does"):
        copy(target.url, str(tmp_path / "other.db"))
    with pytest.raises(MigrationRefused, match=r"back\.db exists already"):
        copy(target.url, str(back))


@pytest.mark.parametrize("revision", ["unversioned", "0001", "0005", HEAD])
def test_a_source_of_any_revision_is_upgraded_in_a_copy_and_only_read(
    deployed_file: Path, target: Database, revision: str
) -> None:
    if revision != "unversioned":
        command.upgrade(alembic_config(str(deployed_file), backup="off"), revision)
    fill_new_tables(deployed_file)
    before, beside = file_hash(deployed_file), set(deployed_file.parent.iterdir())
    rows = row_hashes(deployed_file)
    copied = {table.table: table.rows for table in copy(str(deployed_file), target.url)}
    assert file_hash(deployed_file) == before
    assert set(deployed_file.parent.iterdir()) == beside
    assert copied["clips"] == 18
    assert {table for table, count in copied.items() if count} == rows.keys()


@pytest.mark.parametrize("start", ["0001", "0004", HEAD, "base"])
def test_a_target_with_empty_tables_of_any_revision(
    full_file: Path, target: Database, start: str
) -> None:
    config = alembic_config(target.url)
    command.upgrade(config, "0001" if start == "base" else start)
    if start == "base":
        command.downgrade(config, "base")
    copy(str(full_file), target.url)
    assert rows_of(target.url) == rows_of(f"sqlite:///{full_file}")


def test_rows_of_a_file_in_use_are_copied_as_they_were_committed(
    full_file: Path, target: Database
) -> None:
    with closing(sqlite3.connect(full_file, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO config_overrides (key, value) VALUES ('committed', '')")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO config_overrides (key, value) VALUES ('open', '')")
        copy(str(full_file), target.url)
        writer.execute("COMMIT")
    keys = target.psql("SELECT key FROM config_overrides").split("\n")
    assert "committed" in keys
    assert "open" not in keys


def test_the_next_row_gets_the_next_id(full_file: Path, target: Database) -> None:
    command.upgrade(alembic_config(target.url), "head")
    target.psql(  # rows that were there once
        "INSERT INTO analytics (youtube_video_id) SELECT 'y' FROM generate_series(1, 100);"
        "DELETE FROM analytics"
    )
    pointing = "".join(f"DELETE FROM {table};" for table in later_tables())
    execute(full_file, f"{pointing} DELETE FROM shorts; UPDATE error_logs SET id = -id")
    copy(str(full_file), target.url)
    for table, following in (("analytics", 3), ("clips", 19), ("shorts", 1), ("error_logs", 1)):
        sequence = f"pg_get_serial_sequence('{table}', 'id')"
        assert target.psql(f"SELECT nextval({sequence})") == f"{following}\n"


def test_the_largest_id(full_file: Path, target: Database) -> None:
    execute(full_file, f"UPDATE analytics SET id = {2**63 - 1} WHERE id = 2")
    copy(str(full_file), target.url)
    assert target.psql("SELECT max(id) FROM analytics") == f"{2**63 - 1}\n"


@pytest.mark.parametrize("table", [table.name for table in Base.metadata.sorted_tables])
def test_a_target_that_holds_a_row_is_refused(
    full_file: Path, target: Database, table: str
) -> None:
    copy(str(full_file), target.url)
    others = [name for name in Base.metadata.tables if name != table]
    target.psql(
        "SET session_replication_role = replica;"  # one table alone, whatever points to others
        + "".join(f"DELETE FROM {name};" for name in others)
    )
    before = contents(target)
    with pytest.raises(MigrationRefused, match=rf"is not empty: {table} hold rows; nothing was"):
        copy(str(full_file), target.url)
    assert contents(target) == before


INVALID = {
    # Values in SQLite by table and key, with the expected message.
    "UPDATE discovered_videos SET title = 'a' || char(0) || 'b' WHERE id = 1": (
        ("discovered_videos", 1, "title"),
        r"'a\x00b' has a NUL in it",
    ),
    "UPDATE discovered_videos SET title = CAST(x'41ff' AS TEXT) WHERE id = 2": (
        ("discovered_videos", 2, "title"),
        "'A\N{REPLACEMENT CHARACTER}' is not UTF-8",
    ),
    "UPDATE discovered_videos SET title = x'4142' WHERE id = 3": (
        ("discovered_videos", 3, "title"),
        "b'AB' where text belongs",
    ),
    "UPDATE discovered_videos SET view_count = 9223372036854775808 WHERE id = 4": (
        ("discovered_videos", 4, "view_count"),
        "9.223372036854776e+18 where a 64-bit integer belongs",
    ),
    "UPDATE discovered_videos SET viral_score = 'n/a' WHERE id = 5": (
        ("discovered_videos", 5, "viral_score"),
        "'n/a' where a number belongs",
    ),
    "UPDATE discovered_videos SET discovered_at = 'yesterday' WHERE id = 6": (
        ("discovered_videos", 6, "discovered_at"),
        "'yesterday' where a timestamp belongs",
    ),
    "UPDATE discovered_videos SET discovered_at = 1700000000 WHERE id = 7": (
        ("discovered_videos", 7, "discovered_at"),
        "1700000000 where a timestamp belongs",
    ),
    "UPDATE discovered_videos SET discovered_at = '2026-02-30 00:00:00' WHERE id = 8": (
        ("discovered_videos", 8, "discovered_at"),
        "'2026-02-30 00:00:00' where a timestamp belongs",
    ),
    "UPDATE discovered_videos SET niche = substr(hex(zeroblob(1301)), 1, 2601) WHERE id = 9": (
        ("discovered_videos", 9, "niche"),
        "is longer than the 2600 bytes that an index holds",
    ),
    "UPDATE discovered_videos SET category_id = 2.5 WHERE id = 10": (
        ("discovered_videos", 10, "category_id"),
        "2.5 where a 64-bit integer belongs",
    ),
    "UPDATE pipeline_runs SET started_at = '0001-01-01 00:00:00+05:00' WHERE id = 1": (
        ("pipeline_runs", 1, "started_at"),
        "'0001-01-01 00:00:00+05:00' where a timestamp belongs",
    ),
    "UPDATE review_logs SET pipeline_run_id = 777 WHERE id = 2": (
        ("review_logs", 2, "pipeline_run_id"),
        "pipeline_runs has no row 777",
    ),
    "UPDATE config_overrides SET key = x'00' WHERE key = ''": (
        ("config_overrides", b"\0", "key"),
        r"b'\x00' where text belongs",
    ),
}


@pytest.fixture
def invalid_file(full_file: Path) -> Path:
    """Return a file with every kind of invalid value."""
    execute(full_file, ";".join(INVALID))
    return full_file


def test_invalid_values_are_listed_and_stop_the_copy(
    invalid_file: Path, target: Database, tmp_path: Path
) -> None:
    before = contents(target)
    with pytest.raises(MigrationRefused) as refused:
        copy(str(invalid_file), target.url)
    message = str(refused.value)
    assert "nothing was written" in message
    assert "--skip-invalid FILE" in message
    assert contents(target) == before

    file = tmp_path / "invalid.jsonl"
    copied = {table.table: table.rows for table in copy(str(invalid_file), target.url, file)}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    listed = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    faults = {
        (entry["table"], str(entry["key"]), column): reason
        for entry in listed
        for column, reason in entry["faults"].items()
    }
    for (table, key, column), reason in INVALID.values():
        shown = str({"hex": key.hex()} if isinstance(key, bytes) else key)
        assert reason in faults[table, shown, column]
    # Every row is in the one or in the other, and no row twice.
    for table, rows in row_counts(invalid_file).items():
        left_out = [entry for entry in listed if entry["table"] == table]
        assert len({str(entry["key"]) for entry in left_out}) == len(left_out)
        assert copied[table] + len(left_out) == rows
    # Rows that refer to a skipped row are skipped too.
    runs = {entry["row"]["id"] for entry in listed if entry["table"] == "pipeline_runs"}
    assert {e["key"] for e in listed if e["table"] == "scripts"} == {1}
    assert runs == {1}
    assert faults["scripts", "1", "pipeline_run_id"] == "row 1 of pipeline_runs is invalid"
    # So are rows that refer to those: short 2 refers to clip 1.
    first = next(entry for entry in listed if entry["table"] == "discovered_videos")
    assert first["row"]["title"] == "a\0b"
    assert first["row"]["video_id"] == "vid00000001"


def test_many_invalid_rows_are_counted_and_the_first_named(
    full_file: Path, target: Database
) -> None:
    execute(full_file, "UPDATE discovered_videos SET title = x'00'")
    with pytest.raises(MigrationRefused) as refused:
        copy(str(full_file), target.url)
    lines = str(refused.value).splitlines()
    assert "holds 55 rows that cannot be copied" in lines[0]  # clips and a Short point to them
    assert len(lines) == 22
    assert lines[1] == "  discovered_videos 1: title: b'\\x00' where text belongs"
    assert lines[-1] == "  and 35 more"


def test_no_file_is_written_without_invalid_rows_and_none_overwritten(
    full_file: Path, target: Database, tmp_path: Path
) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    with pytest.raises(MigrationRefused, match=r"precious\.txt holds something else already"):
        copy(str(full_file), target.url, precious)
    assert precious.read_text() == "mine"
    with pytest.raises(MigrationRefused, match="cannot be made"):
        copy(str(full_file), target.url, tmp_path / "none" / "file")
    copy(str(full_file), target.url, tmp_path / "invalid.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deployed.db", "precious.txt"]


def test_values_too_long_for_an_index_of_postgresql(full_file: Path, target: Database) -> None:
    """2,600 incompressible bytes fit; the limit is PostgreSQL's."""
    noise = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(50))
    with closing(sqlite3.connect(full_file)) as connection, connection:
        for table, column in (
            ("discovered_videos", "video_id"),
            ("pipeline_runs", "niche"),
            ("analytics", "youtube_video_id"),
            ("error_logs", "module"),
            ("shorts", "status"),
        ):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE id = 1", (noise[:2600],))
        connection.execute("UPDATE config_overrides SET key = ? WHERE key = ''", (noise[:2600],))
    copy(str(full_file), target.url)
    with pytest.raises(RuntimeError, match="index row size"):
        target.psql(f"UPDATE analytics SET youtube_video_id = '{noise * 2}' WHERE id = 1")


def test_nan_and_distant_times_do_not_fit_into_sqlite(
    full_file: Path, target: Database, tmp_path: Path
) -> None:
    copy(str(full_file), target.url)
    target.psql(
        "UPDATE analytics SET click_through_rate = 'NaN' WHERE id = 1;"
        "UPDATE pipeline_runs SET started_at = 'infinity' WHERE id = 1;"
        "UPDATE tts_audio SET generated_at = '4000-01-01 BC' WHERE id = 2;"
        "UPDATE clips SET start_time_seconds = '-0'"
    )
    back, file = tmp_path / "back.db", tmp_path / "invalid.jsonl"
    with pytest.raises(MigrationRefused) as refused:
        copy(target.url, str(back))
    assert "analytics 1: click_through_rate: NaN, which SQLite stores as NULL" in str(refused.value)
    assert not back.exists()
    copied = {table.table: table.rows for table in copy(target.url, str(back), file)}
    listed = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for table, rows in row_counts(full_file).items():
        assert copied[table] == rows - len([e for e in listed if e["table"] == table])
    by_key = {(entry["table"], entry["key"]): entry for entry in listed}
    assert by_key["pipeline_runs", 1]["row"]["started_at"] == "infinity"
    assert by_key["tts_audio", 2]["faults"].keys() == {"generated_at", "pipeline_run_id"}
    assert by_key["scripts", 1]["faults"] == {
        "pipeline_run_id": "its row of pipeline_runs is invalid"
    }
    with closing(sqlite3.connect(back)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_foreign_objects_are_not_copied_and_are_named(
    full_file: Path, target: Database, caplog: pytest.LogCaptureFixture
) -> None:
    execute(
        full_file,
        "CREATE TABLE of_others (a); INSERT INTO of_others VALUES (1);"
        "ALTER TABLE clips ADD COLUMN note TEXT; UPDATE clips SET note = 'n'",
    )
    copy(str(full_file), target.url)
    assert "not of this schema, and not copied: of_others, clips.note" in caplog.text
    caplog.clear()
    target.psql("CREATE TABLE of_others (a int); ALTER TABLE shorts ADD COLUMN note text")
    copy(target.url, str(full_file.with_name("back.db")))
    assert "not of this schema, and not copied: of_others, shorts.note" in caplog.text


def test_a_file_adopted_with_another_schema_is_copied(tmp_path: Path, target: Database) -> None:
    path = tmp_path / "adopted.db"
    ddl = legacy_database.SCHEMA.replace("VARCHAR", "TEXT").replace("DATETIME", "TIMESTAMP")
    execute(path, ddl.replace("video_id TEXT NOT NULL", "video_id TEXT COLLATE NOCASE NOT NULL"))
    with closing(sqlite3.connect(path)) as connection, connection:
        legacy_database.fill(connection, 60)
        connection.execute("UPDATE pipeline_runs SET started_at = '2026-05-06T14:00+02:00'")
    copy(str(path), target.url)
    started = target.psql("SELECT DISTINCT started_at AT TIME ZONE 'UTC' FROM pipeline_runs")
    assert started == "2026-05-06 12:00:00\n"


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        ("CREATE TABLE users (id INTEGER PRIMARY KEY)", "does not fit the schema"),
        ("PRAGMA user_version = 1", None),
    ],
    ids=["other software's", "empty"],
)
def test_a_foreign_source_is_refused_by_its_name(
    tmp_path: Path, target: Database, make: str, phrase: str | None
) -> None:
    path = tmp_path / "source.db"
    execute(path, make)
    if phrase is None:
        assert {table.rows for table in copy(str(path), target.url)} == {0}
        return
    before = contents(target)
    with pytest.raises(MigrationRefused, match=phrase) as refused:
        copy(str(path), target.url)
    assert str(refused.value).startswith(f"{path} has no version")
    assert contents(target) == before


def test_other_refusals(
    full_file: Path, target: Database, tmp_path: Path, postgres: Server
) -> None:
    file, url = str(full_file), target.url
    damaged = tmp_path / "damaged.db"
    shutil.copy(full_file, damaged)
    with damaged.open("r+b") as raw:
        raw.seek(4096 * 3)
        raw.write(b"\xff" * 4096)
    postgres.execute(
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    read_only = f"{url}&options=-cdefault_transaction_read_only%3Don"
    for source, to, phrase in (
        (file, str(tmp_path / "x.db"), "from SQLite to PostgreSQL or back, not from sqlite to sql"),
        (url, url, "not from postgresql to postgresql"),
        (str(tmp_path / "none.db"), url, "none.db does not exist"),
        (str(tmp_path / "none" / "x.db"), url, "does not exist"),
        (":memory:", url, "a database in memory is not copied"),
        (str(damaged), url, "is damaged"),
        (file, url.replace("test", "nowhere"), "does not exist"),
        (file, read_only, "is read-only: a standby"),
        (file, url.replace(f"/{target.name}", "/latin"), "has the encoding LATIN1"),
        (url, str(tmp_path / "new.db"), f"is at revision none, and only {HEAD} can be copied"),
        (url, str(tmp_path / "none" / "new.db"), "the folder"),
    ):
        with pytest.raises(MigrationRefused, match=phrase) as refused:
            copy(source, to)
        assert "\n" not in str(refused.value)
    assert not schema_of(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.db", "deployed.db"]


def schema_of(database: Database) -> list[Any]:
    return [line for lines in database.schema().values() for line in lines]


def test_every_column_of_the_models_has_an_encoder() -> None:
    for table in Base.metadata.tables.values():
        RowFormat(table)


def test_a_target_created_during_the_copy_is_not_replaced(
    full_file: Path, target: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(str(full_file), target.url)
    back = tmp_path / "back.db"
    monkeypatch.setattr("shortsdb.transfer.sqlite.fsync", lambda _: back.write_text("mine"))
    with pytest.raises(MigrationRefused, match=r"could not be given its name \(File exists\)"):
        copy(target.url, str(back))
    assert back.read_text() == "mine"


def test_the_command(full_file: Path, target: Database, tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, ["copy", str(full_file), str(tmp_path / "x.db")])
    assert refused.exit_code == 1
    assert "a copy goes from SQLite to PostgreSQL or back" in refused.output
    execute(full_file, "UPDATE tts_audio SET duration_seconds = 'long' WHERE id = 1")
    refused = CliRunner().invoke(main, ["copy", str(full_file), target.url])
    assert refused.exit_code == 1
    assert "  tts_audio 1: duration_seconds: 'long' where a number belongs" in refused.output
    file = tmp_path / "invalid.jsonl"
    copied = CliRunner().invoke(
        main, ["copy", str(full_file), target.url, "--schema", "one", "--skip-invalid", str(file)]
    )
    assert copied.exit_code == 0
    schemas = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'clips'"
    assert target.psql(schemas) == "one\n"
    assert json.loads(file.read_text(encoding="utf-8"))["row"]["duration_seconds"] == "long"
    lines = copied.stdout.splitlines()
    assert len(lines) == len(Base.metadata.tables)
    assert ["discovered_videos", "36", "rows"] in [line.split()[:3] for line in lines]
    arguments = ["copy", "--json", "--schema", "one", target.url, str(tmp_path / "back.db")]
    back = CliRunner().invoke(main, arguments)
    assert [table["sha256"] for table in json.loads(back.stdout)] == [
        line.split()[3] for line in lines
    ]
    assert CliRunner().invoke(main, ["copy", "", target.url]).exit_code == 2


def test_a_table_in_use_and_a_lost_connection(full_file: Path, target: Database) -> None:
    command.upgrade(alembic_config(target.url), "head")
    before = contents(target)
    with psycopg.connect(target.server.url(target.name)) as other:
        other.execute("LOCK TABLE shorts IN ROW EXCLUSIVE MODE")
        arguments = [str(PROGRAMS / "shortsdb"), "copy", str(full_file), target.url]
        done = subprocess.run(
            arguments,
            env={**os.environ, "SHORTSDB_LOCK_TIMEOUT": "0.2"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "is locked by another session for longer than SHORTSDB_LOCK_TIMEOUT" in done.stderr
        assert done.stderr.endswith("nothing was copied\n")
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            waiting = (
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event_type = 'Lock'"
            )
            while not (backend := target.psql(waiting)):
                assert process.poll() is None, "it did not wait"
            target.psql(f"SELECT pg_terminate_backend({backend})")
            _, errors = process.communicate()
        assert process.returncode == 1
        assert "ended the connection (terminating connection due to administrator" in errors
        assert errors.endswith("nothing was copied\n")
        assert "Traceback" not in done.stderr + errors
        other.rollback()
    assert contents(target) == before
    copy(str(full_file), target.url)


def test_a_row_added_while_the_copy_waits_is_detected(full_file: Path, target: Database) -> None:
    """This holds even if transactions are REPEATABLE READ by default."""
    command.upgrade(alembic_config(target.url), "head")
    target.psql(
        f"ALTER DATABASE {target.name} SET default_transaction_isolation = 'repeatable read'"
    )
    with psycopg.connect(target.server.url(target.name)) as other:
        other.execute("INSERT INTO config_overrides (key, value) VALUES ('late', '1')")
        arguments = [str(PROGRAMS / "shortsdb"), "copy", str(full_file), target.url]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event_type = 'Lock'"
            )
            while target.psql(waiting) == "0\n":
                assert process.poll() is None, "it did not wait"
            other.commit()
            _, errors = process.communicate()
    assert process.returncode == 1
    assert "config_overrides hold rows" in errors


def test_long_texts(full_file: Path, target: Database, tmp_path: Path) -> None:
    execute(
        full_file,
        "UPDATE scripts SET full_script_json = replace(hex(zeroblob(10000000)), '0', '猫')"
        " WHERE id = 1",
    )
    there = copy(str(full_file), target.url)
    assert copy(target.url, str(tmp_path / "back.db")) == there
    assert target.psql("SELECT octet_length(full_script_json) FROM scripts WHERE id = 1") == (
        "60000000\n"
    )
