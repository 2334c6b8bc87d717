"""What a server, a database or a role is set to does not change what a session reads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy
from pooler import Pooler
from postgresql_server import Database

from shortsdb.database import check_db_health, set_override
from shortsdb.engine import (
    async_session_factory,
    create_async_engine,
    create_engine,
    session_factory,
)
from shortsdb.lifecycle import init_db
from shortsdb.migration import read_status
from shortsdb.models import ConfigOverride
from shortsdb.models.types import utcnow
from shortsdb.postgresql_session import set_search_path
from shortsdb.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgresql_server import Server

TEXT = "значение 地震"
SETTINGS = ["DateStyle = 'SQL, DMY'", "client_encoding = 'LATIN1'", "TimeZone = 'Asia/Kathmandu'"]


@pytest.fixture(params=["SQL_ASCII", *SETTINGS])
def strange(postgres: Server, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Return a database with an uncommon encoding or setting."""
    if request.param == "SQL_ASCII":
        postgres.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
        database = Database(postgres, "ascii")
    else:
        database = postgres.create_database()
        database.psql(f"ALTER DATABASE {database.name} SET {request.param}")
    yield database
    postgres.drop_database(database)


def check(found: ConfigOverride) -> None:
    assert found.value == TEXT
    assert abs((utcnow() - found.updated_at).total_seconds()) < 600


def test_texts_and_moments_are_what_they_are(strange: Database) -> None:
    engine = init_db(strange.url)
    with session_factory(engine)() as session:
        set_override(session, "k", TEXT)
        session.expire_all()
        check(session.get_one(ConfigOverride, "k"))
    assert check_db_health(engine).ok
    engine.dispose()
    assert read_status(Target.parse(strange.url), None).pending == []

    async def main() -> None:
        engine = create_async_engine(strange.url)
        async with async_session_factory(engine)() as session:
            check(await session.get_one(ConfigOverride, "k"))
        await engine.dispose()

    asyncio.run(main())


def test_a_search_path_lasts_for_the_transaction_or_without_one_for_the_session(
    target: Database,
) -> None:
    engine = sqlalchemy.create_engine(target.url)
    shown = sqlalchemy.text("SHOW search_path")
    with engine.connect() as connection:
        before = connection.scalar(shown)
        set_search_path(connection, 'a"b')
        assert connection.scalar(shown) == '"a""b"'
        connection.commit()
        assert connection.scalar(shown) == before
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        set_search_path(connection, "a")
        assert connection.scalar(shown) == "a"
    engine.dispose()


def test_behind_a_pooler_the_setting_is_that_of_each_client(
    postgres: Server, head_database: Database
) -> None:
    database = postgres.create_database(head_database)
    database.psql(f"ALTER DATABASE {database.name} SET {SETTINGS[0]}")
    with Pooler(postgres) as pooler:
        engine = create_engine(pooler.url(database))
        plain = pooler.url(database).replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as other:
            for _ in range(2):
                with session_factory(engine)() as session:
                    set_override(session, "k", TEXT)
                    session.expire_all()
                    check(session.get_one(ConfigOverride, "k"))
                assert other.execute("SHOW DateStyle").fetchone() == ("SQL, DMY",)
        engine.dispose()
    postgres.drop_database(database)


def test_the_schema_is_that_of_the_argument_or_of_the_environment(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = postgres.create_database()
    monkeypatch.setenv("SHORTSDB_SCHEMA", "one")
    for schema, wanted in ((None, "one"), ("other", "other")):
        engine = create_engine(database.url, schema=schema)
        with engine.connect() as connection:
            assert connection.scalar(sqlalchemy.text("SHOW search_path")) == wanted
        engine.dispose()
