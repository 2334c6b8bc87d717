"""Failing migrations of PostgreSQL: one plain message, and nothing changed."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING
from zlib import crc32

import psycopg
import pytest
from alembic import command
from project import HEAD, PROGRAMS, ROOT
from sqlalchemy import create_engine, text

from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Database, Server
    from project import Program

MIGRATING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def at_0007(postgres: Server) -> Iterator[Database]:
    """Return a database one revision before head."""
    database = postgres.create_database()
    command.upgrade(alembic_config(database.url), "0007")
    yield database
    postgres.drop_database(database)


@contextmanager
def locked(database: Database, table: str = "pipeline_runs") -> Iterator[psycopg.Connection]:
    """Hold a table as a busy application does: 0008 makes a foreign key to it."""
    with psycopg.connect(database.server.url(database.name)) as connection:
        connection.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE".encode())
        yield connection
        connection.rollback()


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one message of a refused upgrade."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout
    (message,) = done.stdout.splitlines()
    assert message.startswith("FAILED: postgresql+psycopg://shortsdb@/")
    return message


def test_waiting_for_a_table_in_use_times_out(alembic: Program, at_0007: Database) -> None:
    before = at_0007.schema()
    arguments = ("-x", f"url={at_0007.url}", "upgrade", "head")
    with locked(at_0007):
        message = refusal(alembic(*arguments, SHORTSDB_LOCK_TIMEOUT="0.2"))
    assert "is locked by another session for longer than SHORTSDB_LOCK_TIMEOUT allows" in message
    assert "(at: CREATE TABLE error_logs (); " in message
    assert message.endswith("nothing was changed")
    assert at_0007.schema() == before
    assert alembic(*arguments).returncode == 0


def test_waiting_for_another_migration_times_out(alembic: Program, at_0007: Database) -> None:
    before = at_0007.schema()
    arguments = ("-x", f"url={at_0007.url}", "upgrade", "head")
    with psycopg.connect(at_0007.server.url(at_0007.name)) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (crc32(b"alembic_version"),))
        message = refusal(alembic(*arguments, SHORTSDB_LOCK_TIMEOUT="0.2"))
    assert "is locked by another session" in message
    assert "pg_advisory_xact_lock" in message
    assert at_0007.schema() == before
    assert alembic(*arguments).returncode == 0


def test_a_slow_statement_times_out(alembic: Program, at_0007: Database) -> None:
    before = at_0007.schema()
    with locked(at_0007):
        message = refusal(
            alembic(
                *("-x", f"url={at_0007.url}", "upgrade", "head"),
                SHORTSDB_STATEMENT_TIMEOUT="0.2",
            )
        )
    assert "cancelled a statement (canceling statement due to statement timeout)" in message
    assert "SHORTSDB_STATEMENT_TIMEOUT limits the duration of one, and is 0.2 s now" in message
    assert at_0007.schema() == before


def test_the_timeouts_of_a_callers_transaction_are_restored(at_0007: Database) -> None:
    engine = create_engine(at_0007.url)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '7s'"))
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        assert connection.scalar(text("SHOW lock_timeout")) == "7s"
        assert connection.scalar(text("SHOW statement_timeout")) == "0"
    engine.dispose()


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "1e12"])
def test_a_strange_statement_timeout_is_refused(
    alembic: Program, at_0007: Database, given: str
) -> None:
    done = alembic("-x", f"url={at_0007.url}", "upgrade", "head", SHORTSDB_STATEMENT_TIMEOUT=given)
    assert done.returncode != 0
    assert f"SHORTSDB_STATEMENT_TIMEOUT is '{given}', not a number of seconds" in done.stdout


def start_waiting(database: Database, tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    """Start an upgrade of a locked database; return it when it waits, with its server process."""
    process = subprocess.Popen(
        [PROGRAMS / "alembic", "-c", ROOT / "alembic.ini", "upgrade", "head"],
        cwd=tmp_path,
        env={**os.environ, "SHORTSDB_URL": database.url, "SHORTSDB_LOCK_TIMEOUT": "60"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (waiting := database.psql(MIGRATING)):
        assert process.poll() is None, "it did not wait"
    return process, int(waiting)


def test_a_connection_ended_by_the_server_changes_nothing(
    alembic: Program, at_0007: Database, tmp_path: Path
) -> None:
    before = at_0007.schema()
    with locked(at_0007):
        process, backend = start_waiting(at_0007, tmp_path)
        at_0007.psql(f"SELECT pg_terminate_backend({backend})")
        output, errors = process.communicate()
    done = subprocess.CompletedProcess([], process.returncode, output, errors)
    message = refusal(done)
    assert "terminating connection due to administrator command" in message
    assert "nothing was changed" in message
    assert at_0007.schema() == before
    assert alembic("-x", f"url={at_0007.url}", "upgrade", "head").returncode == 0


def test_a_connection_lost_in_the_commit_reports_an_unknown_outcome(
    alembic: Program, at_0007: Database
) -> None:
    at_0007.psql(
        "CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON alembic_version"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION end_it()"
    )
    message = refusal(alembic("-x", f"url={at_0007.url}", "upgrade", "head"))
    assert "ended the connection (terminating connection due to administrator" in message
    assert "it is either as it was or fully changed: fix the cause, then run" in message
    assert at_0007.psql("SELECT version_num FROM alembic_version") == "0007\n"


def test_a_killed_upgrade_changes_nothing_and_keeps_no_lock(
    alembic: Program, at_0007: Database, tmp_path: Path
) -> None:
    before = at_0007.schema()
    with locked(at_0007):
        process, _ = start_waiting(at_0007, tmp_path)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert at_0007.schema() == before
    assert alembic("-x", f"url={at_0007.url}", "upgrade", "head").returncode == 0
    assert at_0007.psql("SELECT version_num FROM alembic_version") == f"{HEAD}\n"


@pytest.mark.parametrize(
    ("url", "phrase"),
    [
        ("postgresql+psycopg://shortsdb@/nowhere?host={host}", 'database "nowhere" does not exist'),
        ("postgresql+psycopg://nobody@/postgres?host={host}", 'role "nobody" does not exist'),
        ("postgresql+psycopg://u:s3cr3t@/x?host={host}/none", "No such file or directory"),
        ("postgresql+psycopg://u:s3cr3t@127.0.0.1:1/x", "Connection refused"),
    ],
    ids=["database", "role", "server", "port"],
)
def test_an_unreachable_server_is_reported_in_one_line(
    alembic: Program, postgres: Server, url: str, phrase: str
) -> None:
    done = alembic("upgrade", "head", SHORTSDB_URL=url.format(host=postgres.folder))
    assert done.returncode != 0
    (message,) = done.stdout.splitlines()
    assert phrase in message
    assert message.endswith("nothing was changed")
    assert "s3cr3t" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_revision_of_newer_code_is_refused(alembic: Program, at_0007: Database) -> None:
    at_0007.psql("UPDATE alembic_version SET version_num = '0042'")
    message = refusal(alembic("-x", f"url={at_0007.url}", "upgrade", "head"))
    assert f"at revision 0042, and this release knows none after {HEAD}: newer code" in message
