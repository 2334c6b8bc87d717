"""Upgrades on a connection of the caller: sync, async, inside a running event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alembic import command
from inspect_sqlite import file_hash, schema, version
from project import HEAD
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from shortsdb.engine import READ_ONLY_OPTIONS, ReadOnlyError
from shortsdb.engine import create_engine as application_engine
from shortsdb.lifecycle import init_db
from shortsdb.migration import MigrationRefused
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from pathlib import Path


def upgrade(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def test_a_callers_connection_is_used_and_restored(deployed_file: Path) -> None:
    engine = create_engine(f"sqlite:///{deployed_file}")
    with engine.connect() as connection:
        connection.connection.cursor().execute("PRAGMA foreign_keys = ON")
        connection.connection.cursor().execute("PRAGMA busy_timeout = 1234")
        upgrade(connection)
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 1234
        assert connection.exec_driver_sql("PRAGMA query_only").scalar() == 0
        driver_connection = connection.connection.driver_connection
        assert driver_connection is not None
        assert driver_connection.isolation_level == ""
    engine.dispose()
    assert version(deployed_file) == [HEAD]
    assert len(list(deployed_file.parent.glob("backups/*.db"))) == 1


def test_read_only_commands_on_an_engine_of_the_application(deployed_file: Path) -> None:
    engine = init_db(deployed_file)
    config = alembic_config()
    config.attributes["connection"] = engine
    command.check(config)
    with engine.begin() as connection:  # writing is possible again
        connection.execute(text("DELETE FROM config_overrides"))
    engine.dispose()


def test_the_caller_commits_its_own_transaction(deployed_file: Path) -> None:
    before = file_hash(deployed_file)
    engine = create_engine(f"sqlite:///{deployed_file}")
    for commit in (False, True):
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            upgrade(connection)
            if commit:
                connection.commit()
            else:
                connection.rollback()
        if not commit:
            assert file_hash(deployed_file) == before
    engine.dispose()
    assert version(deployed_file) == [HEAD]


def test_a_transaction_that_enforces_foreign_keys_is_refused(deployed_file: Path) -> None:
    before = file_hash(deployed_file)
    engine = create_engine(f"sqlite:///{deployed_file}")
    with engine.connect() as connection:
        connection.connection.cursor().execute("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("BEGIN")
        with pytest.raises(MigrationRefused, match="foreign_keys = ON, which cannot be switched"):
            upgrade(connection)
    engine.dispose()
    assert file_hash(deployed_file) == before


@pytest.mark.parametrize("read_only", [False, True])
def test_a_connection_of_an_engine_with_its_own_begin_listener(
    deployed_file: Path, *, read_only: bool
) -> None:
    engine = application_engine(deployed_file)
    options = READ_ONLY_OPTIONS if read_only else {}
    with engine.connect().execution_options(**options) as connection:
        if read_only:
            with pytest.raises(ReadOnlyError):
                upgrade(connection)
        else:
            upgrade(connection)
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()
    assert ("alembic_version" in schema(deployed_file)) != read_only


def test_a_database_in_memory() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        upgrade(connection)
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD
    engine.dispose()


def test_an_async_connection(deployed_file: Path) -> None:
    async def main() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{deployed_file}")
        async with engine.connect() as connection:
            await connection.run_sync(upgrade)
        await engine.dispose()

    asyncio.run(main())
    assert version(deployed_file) == [HEAD]
    assert len(list(deployed_file.parent.glob("backups/*.db"))) == 1


def test_inside_a_running_event_loop(deployed_file: Path) -> None:
    async def main() -> None:
        url = f"sqlite+aiosqlite:///{deployed_file}"
        command.upgrade(alembic_config(url), "head")

    asyncio.run(main())
    assert version(deployed_file) == [HEAD]


def test_deployed_code_works_at_head(deployed_file: Path) -> None:
    """Expand only: the deployed code's own statements, raw SQL, before and after the upgrade."""
    statements = [
        (
            "INSERT INTO discovered_videos (video_id, title, channel_name, channel_id, url, niche,"
            " discovered_at, processed, content_id_risk) VALUES ('new{n}', 't', 'c', 'i', 'u', 'n',"
            " '2026-01-01 00:00:00.000000', 0, 'unknown')"
        ),
        (
            "INSERT INTO pipeline_runs (niche, cycle_start, cycle_end, status, retry_count)"
            " VALUES ('n', '2026-01-01 00:00:00.000000', '2026-01-02 00:00:00', 'pending', 0)"
        ),
        (
            "INSERT INTO clips (pipeline_run_id, discovered_video_id, rank_position,"
            " start_time_seconds, end_time_seconds, clip_duration_seconds, content_id_risk)"
            " VALUES (last_insert_rowid(), 1, 1, 0.0, 1.0, 1.0, 'unknown')"
        ),
        "UPDATE discovered_videos SET processed = 1 WHERE video_id = 'new{n}'",
        "UPDATE pipeline_runs SET status = 'running', retry_count = retry_count + 1 WHERE id = 1",
        "DELETE FROM clips WHERE id = (SELECT max(id) FROM clips)",
    ]
    counts = []
    for number in range(2):
        with closing(sqlite3.connect(deployed_file)) as connection, connection:
            for statement in statements:
                assert connection.execute(statement.format(n=number)).rowcount == 1
            counts.append(
                connection.execute(
                    "SELECT (SELECT count(*) FROM discovered_videos WHERE processed = 1),"
                    " (SELECT retry_count FROM pipeline_runs WHERE id = 1)"
                ).fetchone()
            )
        command.upgrade(alembic_config(str(deployed_file)), "head")
    assert [after - before for before, after in zip(*counts, strict=True)] == [1, 1]
