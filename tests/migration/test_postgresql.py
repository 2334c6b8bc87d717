"""The same migrations on a real PostgreSQL server, online and with --sql."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zlib import crc32

import psycopg
import pytest
from alembic import command
from alembic.util import CommandError
from project import HEAD
from sqlalchemy import Connection, create_engine, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from waiting_upgrade import wait_until_it_waits

from shortsdb.engine import StaleRowError, session_factory
from shortsdb.engine import create_engine as shortsdb_engine
from shortsdb.migration.revisions import alembic_config, revision_ids
from shortsdb.models import Analytics, Base, ConfigOverride

if TYPE_CHECKING:
    from postgresql_server import Database, Server
    from project import Program


def test_revisions_and_models_build_the_same_schema(postgres: Server) -> None:
    migrated, created = postgres.create_database(), postgres.create_database()
    command.upgrade(alembic_config(migrated.url), "head")
    command.check(alembic_config(migrated.url))
    engine = create_engine(created.url)
    Base.metadata.create_all(engine)
    engine.dispose()
    migrated.psql("DROP TABLE alembic_version, shortsdb_history")
    assert migrated.schema() == created.schema()


def test_one_step_down_and_up_again_at_every_revision(postgres: Server) -> None:
    database = postgres.create_database()
    config = alembic_config(database.url)
    command.upgrade(config, "head")
    for revision in reversed(revision_ids()[:-1]):
        command.downgrade(config, "-1")
        assert database.psql("SELECT version_num FROM alembic_version") == f"{revision}\n"
        below = database.schema()
        command.upgrade(config, "+1")
        command.downgrade(config, "-1")
        assert database.schema() == below


def test_a_connection_of_the_caller_is_used(postgres: Server) -> None:
    database = postgres.create_database()

    def upgrade(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    engine = create_engine(database.url)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # begins a transaction, which is the caller's
        upgrade(connection)
        connection.rollback()
    assert database.schema() == {"columns": [], "constraints": [], "indexes": []}
    with engine.connect() as connection:
        upgrade(connection)
    assert database.psql("SELECT version_num FROM alembic_version") == f"{HEAD}\n"
    engine.dispose()

    async def main() -> None:
        engine = create_async_engine(database.url)
        async with engine.connect() as connection:
            await connection.run_sync(upgrade)
        await engine.dispose()

    asyncio.run(main())


def test_a_stale_update_is_refused(postgres: Server, head_database: Database) -> None:
    engine = shortsdb_engine(postgres.create_database(head_database).url)
    factory = session_factory(engine)
    with factory.begin() as session:
        session.add(ConfigOverride(key="counter", value="0"))
    with factory() as one, factory() as other:
        # Keep a reference, because a session discards unreferenced rows and would reread it.
        ours, theirs = (session.get_one(ConfigOverride, "counter") for session in (one, other))
        assert (ours.value, theirs.value) == ("0", "0")
        ours.value = "1"
        one.commit()
        theirs.value = "2"
        with pytest.raises(StaleRowError, match="config_overrides 'counter'"):
            other.commit()
        other.rollback()
        assert other.get_one(ConfigOverride, "counter").value == "1"
    engine.dispose()


@pytest.mark.parametrize("isolation_level", ["REPEATABLE READ", "READ COMMITTED"])
def test_threads_lose_no_update(
    postgres: Server, head_database: Database, isolation_level: str
) -> None:
    """In the first kind they retry conflicts; in the second they wait, without conflicts."""
    url = postgres.create_database(head_database).url
    engine = shortsdb_engine(url, isolation_level=isolation_level)
    factory = session_factory(engine)
    with factory.begin() as session:
        session.add(ConfigOverride(key="counter", value="0"))

    def count(_: int) -> None:
        done = 0
        while done < 50:
            try:
                with factory.begin() as session:
                    row = session.get_one(ConfigOverride, "counter")
                    row.value = str(int(row.value) + 1)
            except StaleRowError:
                assert isolation_level == "REPEATABLE READ"
            else:
                done += 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count, range(4)))
    with factory() as session:
        assert session.get_one(ConfigOverride, "counter").value == "200"
    engine.dispose()


def test_down_and_up_again(postgres: Server) -> None:
    database = postgres.create_database()
    config = alembic_config(database.url)
    command.upgrade(config, "head")
    at_head = database.schema()
    for _ in revision_ids()[1:]:
        command.downgrade(config, "-1")
    database.psql(
        "INSERT INTO pipeline_runs (niche, cycle_start, cycle_end, status, retry_count)"
        " VALUES ('n', now(), now(), 'pending', 0)"
    )
    with pytest.raises(CommandError, match="would drop pipeline_runs"):
        command.downgrade(config, "base")
    command.upgrade(config, "head")
    assert database.schema() == at_head
    assert database.psql("SELECT count(*) FROM pipeline_runs") == "1\n"


def test_printed_scripts_build_the_same_schema(alembic: Program, postgres: Server) -> None:
    online, offline = postgres.create_database(), postgres.create_database()
    elsewhere = "postgresql://somebody:p%25w@nowhere/x"
    up = alembic("upgrade", "head", "--sql", SHORTSDB_URL=elsewhere)
    down = alembic("downgrade", f"{HEAD}:0001", "--sql", SHORTSDB_URL=elsewhere)
    assert up.returncode == down.returncode == 0
    assert "p%25w" not in up.stdout + up.stderr + down.stdout + down.stderr
    command.upgrade(alembic_config(online.url), "head")
    offline.psql(up.stdout)
    online.psql("DROP TABLE shortsdb_history")  # a printed script has none
    assert offline.schema() == online.schema()
    command.downgrade(alembic_config(online.url), "0001")
    online.psql("DROP TABLE shortsdb_history")
    offline.psql(down.stdout)
    assert offline.schema() == online.schema()


def test_a_moment_of_any_offset_comes_back_as_naive_utc(postgres: Server) -> None:
    database = postgres.create_database()
    command.upgrade(alembic_config(database.url), "head")
    engine = create_engine(database.url)
    noon = datetime(2026, 5, 6, 12, 0, 0, 123456)  # noqa: DTZ001 - the models hold naive UTC
    east = noon.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=5, minutes=45)))
    with Session(engine) as session:
        session.connection().exec_driver_sql("SET TIME ZONE 'Asia/Kathmandu'")
        session.add_all(
            Analytics(youtube_video_id="y", measured_at=given, view_count=2**63 - 1)
            for given in (noon, east)
        )
        session.flush()
        session.expire_all()
        assert session.scalars(select(Analytics.measured_at)).all() == [noon, noon]
        assert session.scalars(select(Analytics.view_count)).all() == [2**63 - 1] * 2
    engine.dispose()


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_four_upgrades_at_once(alembic: Program, postgres: Server, isolation: str) -> None:
    """Whatever the server's default: under the second one the others would not see the first."""
    database = postgres.create_database()
    database.psql(
        f"ALTER DATABASE {database.name} SET default_transaction_isolation = '{isolation}'"
    )
    with ThreadPoolExecutor() as threads:
        done = list(
            threads.map(lambda _: alembic("upgrade", "head", SHORTSDB_URL=database.url), range(4))
        )
    assert [process.returncode for process in done] == [0] * 4
    assert sum(f"is now at {HEAD}" in process.stderr for process in done) == 1
    assert database.psql("SELECT version_num FROM alembic_version") == f"{HEAD}\n"


def test_an_upgrade_waits_for_another_before_it_reads_the_revision(
    alembic: Program, postgres: Server
) -> None:
    database = postgres.create_database()
    url = postgres.url(database.name)
    with psycopg.connect(url, autocommit=True) as other, ThreadPoolExecutor() as threads:
        other.execute("SELECT pg_advisory_lock(%s)", (crc32(b"alembic_version"),))
        upgrade = threads.submit(alembic, "upgrade", "head", SHORTSDB_URL=database.url)
        wait_until_it_waits(upgrade, other)
        other.execute("SELECT pg_advisory_unlock_all()")
        assert upgrade.result().returncode == 0
