"""Behind a pooler in transaction mode, clients do not affect each other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import extra_revision
import psycopg
import pytest
from alembic import command
from pooler import Pooler
from project import HEAD
from sqlalchemy import create_engine as plain_engine
from sqlalchemy import select, text
from sqlalchemy.exc import ArgumentError, ProgrammingError

from shortsdb.database import (
    check_db_health,
    check_db_health_async,
    get_override,
    get_session,
    init_db,
    log_error,
    set_override,
)
from shortsdb.engine import (
    async_session_factory,
    create_async_engine,
    create_engine,
    session_factory,
)
from shortsdb.errors import OperationRefused
from shortsdb.migration import create_migration_engine
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import ConfigOverride, ErrorLog
from shortsdb.target import Target
from shortsdb.transfer import copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Database, Server
    from sqlalchemy import Engine

# Each is prepared under the name of the first one of its connection.
STATEMENTS = ("SELECT 1 AS mine", "SELECT 'x' AS other")


@pytest.fixture(scope="module")
def pooler(postgres: Server) -> Iterator[Pooler]:
    """Return a pooler whose clients share one connection per database."""
    with Pooler(postgres) as pooler:
        yield pooler


@pytest.fixture
def pooled(pooler: Pooler, target: Database) -> str:
    """Return the URL of an empty database behind the pooler."""
    return pooler.url(target)


def answers(engine: Engine, statement: str) -> list[Any]:
    """Return the result of a statement, run so often that psycopg would prepare it."""
    found = []
    with engine.connect() as connection:
        for _ in range(7):
            found.append(connection.scalar(text(statement)))
            connection.commit()  # after a rollback psycopg would discard its prepared statements
    return found


def test_prepared_statements_of_two_clients_collide(pooled: str) -> None:
    """The control: without our setting, statements collide."""
    engines = [plain_engine(pooled) for _ in STATEMENTS]
    answers(engines[0], STATEMENTS[0])
    with pytest.raises(ProgrammingError, match='prepared statement "_pg3_0" already exists'):
        answers(engines[1], STATEMENTS[1])
    for engine in engines:
        engine.dispose()


def test_clients_do_not_receive_results_of_others(pooled: str) -> None:
    engines = [create_engine(pooled), create_migration_engine(Target.parse(pooled), changes=True)]
    for _ in range(2):
        assert [answers(*each) for each in zip(engines, STATEMENTS, strict=True)] == [
            [1] * 7,
            ["x"] * 7,
        ]
    for engine in engines:
        engine.dispose()


def test_async_clients_do_not_receive_results_of_others(pooled: str) -> None:
    async def main() -> None:
        engines = [create_async_engine(pooled) for _ in STATEMENTS]
        for engine, statement in zip(engines, STATEMENTS, strict=True):
            async with engine.connect() as connection:
                found = set()
                for _ in range(7):
                    found.add(await connection.scalar(text(statement)))
                    await connection.commit()
                assert len(found) == 1
        for engine in engines:
            await engine.dispose()

    asyncio.run(main())


def test_migrations_copies_sessions_and_health(
    pooled: str, target: Database, full_file: Path, tmp_path: Path
) -> None:
    settings = "SELECT name, setting FROM pg_settings WHERE source = 'session'"
    url = target.server.url(target.name).replace(
        str(target.server.folder), str(Target.parse(pooled).url.query["host"])
    )
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
        before = other.execute(settings).fetchall()
        command.upgrade(alembic_config(pooled), "head")
        command.downgrade(alembic_config(pooled), "base")
        verified = copy(str(full_file), pooled)
        assert copy(pooled, str(tmp_path / "back.db")) == verified
        engine = init_db(pooled)
        with get_session(engine) as session:
            for number in range(7):
                log_error(session, "m", "T", str(number), pipeline_run_id=None)
        with session_factory(engine, read_only=True)() as reader:
            found = reader.scalars(select(ErrorLog.error_message).order_by(ErrorLog.id.desc()))
            assert found.first() == "6"
        health = check_db_health(engine)
        assert (health.ok, health.revision) == (True, HEAD)
        engine.dispose()
        # The pooler's one connection, which other clients get next, is set as it was.
        assert other.execute(settings).fetchall() == before
        assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert other.execute(locks).fetchone() == (0,)


def test_clients_of_two_schemas_share_a_connection(pooled: str) -> None:
    engines = {schema: init_db(pooled, schema=schema) for schema in ("one", "two")}
    for value in "ab":
        for schema, engine in engines.items():
            with get_session(engine) as session:
                set_override(session, "where", f"{schema} {value}")
    for schema, engine in engines.items():
        with session_factory(engine, read_only=True)() as reader:
            assert get_override(reader, "where") == f"{schema} b"
        engine.dispose()
    plain = plain_engine(pooled, connect_args={"prepare_threshold": None})
    with plain.connect() as connection:
        assert connection.scalar(text("SHOW search_path")) == '"$user", public'
    plain.dispose()


def test_a_revision_that_needs_a_session_is_refused(
    pooled: str, target: Database, tmp_path: Path
) -> None:
    """Whether its lock and timeouts reach the same session of the server is not known there."""
    command.upgrade(alembic_config(pooled), "head")
    extra_revision.add(tmp_path, "op.execute('SELECT 1')", attributes="transactional = False")
    what = f"is a pooler, and revision {extra_revision.number()} cannot run in a transaction"
    with pytest.raises(OperationRefused, match=what):
        command.upgrade(extra_revision.config(tmp_path, pooled), "head")
    assert target.psql("SELECT version_num FROM alembic_version") == f"{HEAD}\n"
    command.upgrade(extra_revision.config(tmp_path, target.url), "head")
    assert target.psql("SELECT version_num FROM alembic_version") == f"{extra_revision.number()}\n"


def test_async_sessions_and_health(pooled: str) -> None:
    init_db(pooled).dispose()

    async def main() -> None:
        engine = create_async_engine(pooled)
        async with async_session_factory(engine).begin() as session:
            session.add(ConfigOverride(key="k", value="v"))
        assert (await check_db_health_async(engine)).ok
        await engine.dispose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("given", "threshold"), [("", None), ("&prepare_threshold=5", 5), ("&prepare_threshold=0", 0)]
)
def test_a_direct_connection_may_prepare(
    target: Database, given: str, threshold: int | None
) -> None:
    url = target.url + given
    engines = [create_engine(url), create_migration_engine(Target.parse(url), changes=True)]
    for engine in engines:
        with engine.connect() as connection:
            driver_connection: Any = connection.connection.driver_connection
            assert driver_connection.prepare_threshold == threshold
        engine.dispose()
    init_db(url).dispose()

    async def main() -> None:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            driver_connection: Any = (await connection.get_raw_connection()).driver_connection
            assert driver_connection.prepare_threshold == threshold
        await engine.dispose()

    asyncio.run(main())


def test_connect_args_of_the_caller_take_precedence(target: Database) -> None:
    engine = create_engine(target.url, connect_args={"prepare_threshold": 3})
    with engine.connect() as connection:
        driver_connection: Any = connection.connection.driver_connection
        assert driver_connection.prepare_threshold == 3
    engine.dispose()


@pytest.mark.parametrize("given", ["often", "-1", "1&prepare_threshold=2", "1" * 20])
def test_a_non_numeric_threshold_is_refused(given: str) -> None:
    url = f"postgresql://x@localhost/x?prepare_threshold={given}"
    phrase = "prepare_threshold in the database URL is not a number; psycopg's default is 5"
    with pytest.raises(ArgumentError, match=phrase):
        create_engine(url)
    with pytest.raises(OperationRefused, match=phrase):
        Target.parse(url)
