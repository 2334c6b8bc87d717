"""A revision that builds an index while others write runs outside of a transaction, and alone."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from typing import TYPE_CHECKING
from zlib import crc32

import extra_revision
import psycopg
import pytest
from alembic import command
from inspect_sqlite import version
from project import HEAD
from sqlalchemy import create_engine, text
from waiting_upgrade import wait_until_it_waits

from shortsdb.migration import MigrationRefused, postgresql
from shortsdb.migration.locks import session_lock
from shortsdb.migration.revision_run import MigrationHalfApplied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Database, Server
    from sqlalchemy import Connection

ALONE = "transactional = False"
INDEX = (
    "op.create_index('by_niche', 'discovered_videos', ['niche'], unique={unique},"
    " if_not_exists=True, postgresql_concurrently=True)"
)
DROP = "op.drop_index('by_niche', if_exists=True, postgresql_concurrently=True)"
VIDEO = (
    "INSERT INTO discovered_videos (video_id, title, channel_name, channel_id, url, niche,"
    " discovered_at, processed, content_id_risk) VALUES ('{}', 't', 'c', 'c', 'u', 'n',"
    " '2026-01-01', 0, 'low')"
)
VERSION = "SELECT version_num FROM alembic_version"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
BEFORE, CONCURRENT, AFTER = (extra_revision.number(place) for place in (1, 2, 3))


@pytest.fixture
def database(postgres: Server, head_database: Database) -> Iterator[Database]:
    """Return a database at head."""
    database = postgres.create_database(head_database)
    yield database
    postgres.drop_database(database)


@pytest.fixture(autouse=True)
def _revisions(tmp_path: Path) -> None:
    """Write three revisions, the second of which builds an index."""
    add_index(tmp_path)
    for place, table in ((1, "before_it"), (3, "after_it")):
        create = f"op.create_table('{table}', sa.Column('id', sa.Integer()))"
        extra_revision.add(tmp_path, create, downgrade=f"op.drop_table('{table}')", place=place)


def add_index(folder: Path, *, unique: bool = False, more: str = "") -> None:
    body = INDEX.format(unique=unique) + more
    extra_revision.add(folder, body, attributes=ALONE, downgrade=DROP, place=2)


def upgrade(folder: Path, url: str) -> None:
    command.upgrade(extra_revision.config(folder, url), "head")


def found(database: Database) -> tuple[str, ...]:
    """Return the version, whether the index is valid, and which of the tables are there."""
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('by_niche')"
    tables = "SELECT tablename FROM pg_tables WHERE tablename LIKE '%_it' ORDER BY 1 DESC"
    return tuple(" ".join(database.psql(query).split()) for query in (VERSION, valid, tables))


def test_up_and_down_and_the_others_are_transactions(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "shortsdb"):
        upgrade(tmp_path, database.url)
    assert found(database) == (AFTER, "t", "before_it after_it")
    assert f"is now at {AFTER} (it had {HEAD}), step by step" in caplog.text
    command.downgrade(extra_revision.config(tmp_path, database.url), BEFORE)
    assert found(database) == (BEFORE, "", "before_it")
    assert database.psql(LOCKS) == "0\n"
    history = "SELECT action, from_revision, to_revision FROM shortsdb_history ORDER BY number"
    assert database.psql(history).splitlines()[1:] == [
        f"upgrade|{HEAD}|{BEFORE}",
        f"upgrade|{BEFORE}|{CONCURRENT}",
        f"upgrade|{CONCURRENT}|{AFTER}",
        f"downgrade|{AFTER}|{CONCURRENT}",
        f"downgrade|{CONCURRENT}|{BEFORE}",
    ]


def test_what_is_between_two_is_one_transaction_and_one_row_of_the_history(
    database: Database, tmp_path: Path
) -> None:
    lower = f"{int(HEAD) - 1:04}"
    command.downgrade(extra_revision.config(tmp_path, database.url), lower)
    upgrade(tmp_path, database.url)
    history = "SELECT from_revision, to_revision FROM shortsdb_history ORDER BY number"
    assert database.psql(history).splitlines()[2:] == [
        f"{lower}|{BEFORE}",
        f"{BEFORE}|{CONCURRENT}",
        f"{CONCURRENT}|{AFTER}",
    ]


@pytest.mark.parametrize("asked", ["+2", CONCURRENT])
def test_it_goes_no_further_than_asked(database: Database, tmp_path: Path, asked: str) -> None:
    command.upgrade(extra_revision.config(tmp_path, database.url), asked)
    assert found(database) == (CONCURRENT, "t", "before_it")


def test_a_database_without_a_version_is_adopted_first(database: Database, tmp_path: Path) -> None:
    database.psql("DROP TABLE alembic_version, shortsdb_history")
    upgrade(tmp_path, database.url)
    assert found(database) == (AFTER, "t", "before_it after_it")
    history = "SELECT action, from_revision, to_revision FROM shortsdb_history ORDER BY number"
    assert database.psql(history).splitlines()[:2] == [
        f"adoption||{HEAD}",
        f"upgrade|{HEAD}|{BEFORE}",
    ]


def test_a_new_database_is_said_to_be_new_or_refused(
    target: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = extra_revision.config(tmp_path, target.url)
    config.attributes["must_exist"] = True
    with pytest.raises(MigrationRefused, match="must exist"):
        command.upgrade(config, "head")
    assert target.psql(LOCKS) == "0\n"
    assert target.schema()["columns"] == []
    upgrade(tmp_path, target.url)
    assert caplog.text.count("is new: creating the schema from the first revision") == 1
    assert found(target) == (AFTER, "t", "before_it after_it")


def test_on_sqlite_it_is_part_of_the_one_transaction(head_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(head_file.read_bytes())
    extra_revision.add(tmp_path, "op.execute('SELECT nothing')", place=3)
    with pytest.raises(MigrationRefused, match="nothing was changed"):
        command.upgrade(extra_revision.config(tmp_path, path), "head")
    indexes = "SELECT count(*) FROM sqlite_master WHERE name = 'by_niche'"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(indexes).fetchone() == (0,)
    command.upgrade(extra_revision.config(tmp_path, path), CONCURRENT)
    assert version(path) == [CONCURRENT]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(indexes).fetchone() == (1,)


def test_others_write_and_a_second_upgrade_waits_until_it_has_ended(
    database: Database, tmp_path: Path
) -> None:
    url = database.server.url(database.name)
    building = "SELECT count(*) FROM pg_stat_progress_create_index"
    with (
        psycopg.connect(url) as old,
        psycopg.connect(url, autocommit=True) as writer,
        ProcessPoolExecutor(2, get_context("spawn")) as processes,  # Alembic is one per process
    ):
        old.execute(VIDEO.format("old").encode())  # which the index has to wait for
        first = processes.submit(upgrade, tmp_path, database.url)
        while writer.execute(building).fetchone() == (0,):
            assert not first.done()
        second = processes.submit(upgrade, tmp_path, database.url)
        wait_until_it_waits(second, writer)
        writer.execute("SET lock_timeout = '1s'")
        writer.execute(VIDEO.format("meanwhile").encode())
        assert not first.done()
        old.commit()
        first.result()
        second.result()
    assert found(database) == (AFTER, "t", "before_it after_it")


def test_what_another_upgrade_did_meanwhile_is_not_done_again(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It looks in one transaction, and has the lock of a session only after that."""

    def second(connection: Connection, version_table: str) -> object:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            process.submit(upgrade, tmp_path, database.url).result()
        return session_lock(connection, version_table)

    monkeypatch.setattr(postgresql, "session_lock", second)
    with caplog.at_level("INFO", "shortsdb"):
        upgrade(tmp_path, database.url)
    assert f"is at {AFTER} already: nothing to do" in caplog.text
    assert found(database) == (AFTER, "t", "before_it after_it")


def test_an_invalid_index_is_named_with_the_way_out(database: Database, tmp_path: Path) -> None:
    add_index(tmp_path, unique=True)
    for video in "ab":
        database.psql(VIDEO.format(video))
    way_out = "index by_niche of discovered_videos is invalid.*: DROP INDEX CONCURRENTLY by_niche"
    with pytest.raises(MigrationHalfApplied, match=f"at {BEFORE}, and the {way_out}") as failed:
        upgrade(tmp_path, database.url)
    assert "nothing was changed" not in str(failed.value)
    assert found(database) == (BEFORE, "f", "before_it")
    with pytest.raises(MigrationRefused, match=f"{way_out}; nothing was changed") as refused:
        upgrade(tmp_path, database.url)
    assert not isinstance(refused.value, MigrationHalfApplied)
    database.psql("DROP INDEX CONCURRENTLY by_niche; DELETE FROM discovered_videos")
    upgrade(tmp_path, database.url)
    assert found(database) == (AFTER, "t", "before_it after_it")


def test_an_invalid_index_is_named_even_if_the_revision_hides_its_error(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for video in "ab":
        database.psql(VIDEO.format(video))
    body = f"try:\n    {INDEX.format(unique=True)}\nexcept sa.exc.IntegrityError:\n    pass"
    extra_revision.add(tmp_path, body, attributes=ALONE, place=2)
    upgrade(tmp_path, database.url)
    assert "index by_niche of discovered_videos is invalid" in caplog.text
    assert "DROP INDEX CONCURRENTLY by_niche" in caplog.text
    assert found(database) == (AFTER, "f", "before_it after_it")


OF_ANOTHER_INSTALLATION = (
    "CREATE SCHEMA other; CREATE TABLE other.t (a int); CREATE INDEX broken ON other.t (a);"
    " UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'other.broken'::regclass"
)
OF_ALL_PARTITIONS = (
    "CREATE TABLE t (a int) PARTITION BY RANGE (a);"
    " CREATE TABLE part PARTITION OF t FOR VALUES FROM (1) TO (2);"
    " CREATE INDEX broken ON ONLY t (a)"
)


@pytest.mark.parametrize("invalid", [OF_ANOTHER_INSTALLATION, OF_ALL_PARTITIONS])
def test_an_invalid_index_that_is_none_of_ours_is_no_obstacle(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture, invalid: str
) -> None:
    database.psql(invalid)
    there = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    assert database.psql(there) == "1\n"
    upgrade(tmp_path, database.url)
    assert found(database) == (AFTER, "t", "before_it after_it")
    assert "invalid" not in caplog.text


def test_a_later_failure_says_what_stays(database: Database, tmp_path: Path) -> None:
    extra_revision.add(tmp_path, "op.execute('SELECT 1/0')", place=3)
    with pytest.raises(MigrationHalfApplied, match="division by zero") as failed:
        upgrade(tmp_path, database.url)
    assert f"nothing after revision {CONCURRENT} was changed" in str(failed.value)
    assert "nothing was changed" not in str(failed.value)
    assert found(database) == (CONCURRENT, "t", "before_it")


def test_a_failure_of_the_first_part_changes_nothing(database: Database, tmp_path: Path) -> None:
    extra_revision.add(tmp_path, "op.execute('SELECT 1/0')", place=1)
    with pytest.raises(MigrationRefused, match="nothing was changed") as refused:
        upgrade(tmp_path, database.url)
    assert not isinstance(refused.value, MigrationHalfApplied)
    assert found(database) == (HEAD, "", "")


def test_a_lost_connection_is_said(database: Database, tmp_path: Path) -> None:
    add_index(tmp_path, more="\nop.execute('SELECT pg_terminate_backend(pg_backend_pid())')")
    with pytest.raises(MigrationHalfApplied, match=f"database is at {BEFORE}. Run the same again"):
        upgrade(tmp_path, database.url)
    upgrade_again = extra_revision.config(tmp_path, database.url)
    add_index(tmp_path)
    command.upgrade(upgrade_again, "head")
    assert found(database) == (AFTER, "t", "before_it after_it")


def test_it_ends_when_the_lock_is_lost(database: Database, tmp_path: Path) -> None:
    """As when an administrator ends the one session that seems to do nothing."""
    kill = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'"
        f" AND objid = {crc32(b'alembic_version')}"
    )
    add_index(tmp_path, more=f'\nop.execute("{kill}")')
    with pytest.raises(MigrationRefused, match="terminating connection"):
        upgrade(tmp_path, database.url)
    assert found(database) == (CONCURRENT, "t", "before_it")


def test_a_transaction_of_the_caller_is_refused(database: Database, tmp_path: Path) -> None:
    engine = create_engine(database.url)
    with engine.begin() as connection:
        config = extra_revision.config(tmp_path, None, connection)
        with pytest.raises(MigrationRefused, match="the connection handed in is in one"):
            command.upgrade(config, "head")
    assert found(database) == (HEAD, "", "")
    with engine.connect() as connection:
        names = ["lock_timeout", "statement_timeout", "transaction_isolation"]
        before = [connection.scalar(text(f"SHOW {name}")) for name in names]
        connection.rollback()
        command.upgrade(extra_revision.config(tmp_path, None, connection), "head")
        assert not connection.in_transaction()
        assert [connection.scalar(text(f"SHOW {name}")) for name in names] == before
        assert connection.in_transaction()
    engine.dispose()
    assert found(database) == (AFTER, "t", "before_it after_it")


def test_a_printed_script_commits_before_and_begins_after(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = extra_revision.config(tmp_path, database.url)
    command.upgrade(config, f"{HEAD}:head", sql=True)
    database.psql(capsys.readouterr().out)
    assert found(database) == (AFTER, "t", "before_it after_it")


def test_a_printed_script_of_sqlite_is_one_transaction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = extra_revision.config(tmp_path, tmp_path / "d.db")
    command.upgrade(config, f"{HEAD}:head", sql=True)
    script = capsys.readouterr().out
    assert script.count("BEGIN") == script.count("COMMIT") == 1
    assert "by_niche" in script


def test_an_error_past_sqlalchemy_says_what_is_kept(database: Database, tmp_path: Path) -> None:
    raw = "op.get_bind().connection.dbapi_connection.cursor().execute('SELECT absent')"
    extra_revision.add(tmp_path, raw, place=3)
    config = extra_revision.config(tmp_path, database.url)
    kept = f"nothing after revision {CONCURRENT} was changed. Revision {AFTER} is at fault"
    with pytest.raises(MigrationHalfApplied, match=kept):
        command.upgrade(config, "head")
    command.downgrade(config, BEFORE)
    add_index(tmp_path, more=f"\n{raw}")
    kept = rf'"absent" .*the database is at {BEFORE}\. Run'
    with pytest.raises(MigrationHalfApplied, match=kept):
        command.upgrade(config, "head")
    assert database.psql(LOCKS) == "0\n"


def test_what_is_between_two_waits_and_runs_no_longer_than_a_transaction_of_all(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_STATEMENT_TIMEOUT", "77")
    names = "(SELECT string_agg(current_setting(name || '_timeout'), ' ') FROM (VALUES {}) n(name))"
    found = names.format("('lock'), ('statement')")
    for place in (1, 3):
        extra_revision.add(
            tmp_path, f'op.execute("CREATE TABLE at_{place} AS SELECT {found} AS x")', place=place
        )
    upgrade(tmp_path, database.url)
    assert database.psql("SELECT x FROM at_1 UNION ALL SELECT x FROM at_3") == "5s 77s\n" * 2
