"""Many channels in one database: a schema each, and no way from one to another."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import extra_revision
import pytest
from alembic import command
from click.testing import CliRunner
from project import HEAD
from sqlalchemy import create_engine as plain_engine
from sqlalchemy import func, select, text
from sqlalchemy.exc import ArgumentError

from shortsdb.cli import main
from shortsdb.database import check_db_health, get_session, init_db, set_override
from shortsdb.engine import (
    async_session_factory,
    create_async_engine,
    create_engine,
    session_factory,
)
from shortsdb.errors import OperationRefused
from shortsdb.lifecycle import init_db_async
from shortsdb.migration import MigrationRefused, read_status
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import ConfigOverride
from shortsdb.target import Target
from shortsdb.transfer import copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result
    from postgresql_server import Database, Server

ONE, OTHER = "one", 'The "other"; channel'


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    """Return an empty database."""
    database = postgres.create_database()
    yield database
    postgres.drop_database(database)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def upgrade(url: str, schema: str | None = None, to: str = "head") -> None:
    command.upgrade(alembic_config(url, schema=schema), to)


def tables(database: Database) -> dict[str, int]:
    """Return how many tables each schema has: ours, that of the version and that of the history."""
    counted = (
        "SELECT table_schema, count(*) FROM information_schema.tables"
        " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') GROUP BY 1"
    )
    lines = database.psql(counted).splitlines()
    return {name: int(count) for name, count in (line.rsplit("|", 1) for line in lines)}


def values(url: str, schema: str) -> list[str]:
    engine = create_engine(url, schema=schema)
    with session_factory(engine, read_only=True)() as session:
        found = list(session.scalars(select(ConfigOverride.value)))
    engine.dispose()
    return found


def test_each_schema_has_its_own_version_and_tables(database: Database) -> None:
    for schema, revision in ((ONE, "head"), (OTHER, "0001")):
        done = run("upgrade", revision, "--url", database.url, "--schema", schema)
        assert done.exit_code == 0, done.output
    assert tables(database) == {ONE: 12, OTHER: 5}
    shown = run("status", "--url", database.url, "--all-schemas", "--json", "--exit-code")
    assert shown.exit_code == 3
    found = {each["database"].partition(" (")[2]: each for each in json.loads(shown.output)}
    assert found[f"schema {ONE})"]["revision"] == HEAD
    assert found[f"schema {OTHER})"]["revision"] == "0001"
    assert read_status(Target.parse(database.url), None).revision is None
    for name in ("status", "check", "health"):
        assert run(name, "--url", database.url, "--schema", ONE).exit_code == 0, name
    assert run("seed", "--url", database.url, "--schema", ONE).exit_code == 0
    assert run("downgrade", "0001", "--yes", "--url", database.url, "--schema", ONE).exit_code == 0
    assert tables(database) == {ONE: 5, OTHER: 5}


def test_the_environment_names_the_schema(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHORTSDB_SCHEMA", ONE)
    init_db(database.url).dispose()
    engine = create_engine(database.url)
    assert check_db_health(engine).ok
    engine.dispose()
    assert tables(database) == {ONE: 12}
    init_db(tmp_path / "x.db").dispose()  # SQLite has none, and is not disturbed


def test_a_search_path_never_leads_to_another_installation(database: Database) -> None:
    upgrade(database.url, ONE)
    database.psql(
        f'CREATE SCHEMA two; ALTER DATABASE {database.name} SET search_path = two, "{ONE}"'
    )
    with pytest.raises(MigrationRefused, match=f"version of the schema {ONE}, .* would be in two"):
        upgrade(database.url)
    assert read_status(Target.parse(database.url, "two"), None).revision is None
    upgrade(database.url, "two")
    assert tables(database) == {ONE: 12, "two": 12}
    engine = create_engine(database.url, schema=ONE)
    with get_session(engine) as session:
        set_override(session, "volume", "11")
        session.execute(text("UPDATE config_overrides SET value = value || '!'"))
        session.commit()
    engine.dispose()
    assert (values(database.url, ONE), values(database.url, "two")) == (["11!"], [])


@pytest.mark.parametrize("name", ["upgrade", "downgrade", "stamp", "check"])
def test_a_connection_whose_tables_are_elsewhere_is_refused(database: Database, name: str) -> None:
    """Else the tables of another installation would be changed, and this one be named."""
    upgrade(database.url, to="0001")
    before = database.schema()
    engine = create_engine(database.url)
    with engine.connect() as connection:
        config = alembic_config(schema=ONE)
        config.attributes["connection"] = connection
        with pytest.raises(MigrationRefused, match="handed in leads to the schema public; nothing"):
            getattr(command, name)(config, *["0001"] * (name != "check"))
        assert database.schema() == before
        assert tables(database).keys() == {"public"}
        with connection.begin():
            connection.execute(text(f'SET search_path TO "{ONE}"'))
        command.upgrade(config, "head")
    engine.dispose()
    assert tables(database)[ONE] == 12


def test_an_engine_without_transactions_stays_in_its_schema_too(database: Database) -> None:
    init_db(database.url, schema=ONE).dispose()
    engine = create_engine(database.url, schema=ONE, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(ConfigOverride)) == 0
    engine.dispose()


def test_async_engines_and_a_schema_that_is_created(database: Database) -> None:
    async def run_it() -> None:
        engine = await init_db_async(database.url, schema=OTHER)
        async with async_session_factory(engine).begin() as session:
            session.add(ConfigOverride(key="k", value="v"))
        await engine.dispose()
        other = create_async_engine(database.url, schema=OTHER)
        async with async_session_factory(other)() as session:
            assert (await session.get_one(ConfigOverride, "k")).value == "v"
        await other.dispose()

    asyncio.run(run_it())
    assert tables(database) == {OTHER: 12}


def test_a_copy_into_a_schema_and_back(database: Database, full_file: Path, tmp_path: Path) -> None:
    upgrade(database.url, "two")
    into = run("copy", str(full_file), database.url, "--schema", ONE)
    assert into.exit_code == 0, into.output
    assert tables(database) == {ONE: 12, "two": 12}
    assert values(database.url, "two") == []
    back = run("copy", database.url, str(tmp_path / "back.db"), "--schema", ONE)
    assert back.stdout == into.stdout
    with pytest.raises(MigrationRefused, match=r"\(schema one\) is not empty"):
        copy(str(full_file), database.url, schema=ONE)


def test_a_revision_that_runs_alone_runs_in_the_schema(database: Database, tmp_path: Path) -> None:
    extra_revision.add(
        tmp_path,
        "op.create_index('mine', 'clips', ['id'], postgresql_concurrently=True)",
        attributes="transactional = False",
    )
    for schema in (ONE, "two"):
        config = extra_revision.config(tmp_path, database.url)
        config.attributes["schema"] = schema
        command.upgrade(config, "head")
    found = database.psql("SELECT schemaname FROM pg_indexes WHERE indexname = 'mine' ORDER BY 1")
    assert found.split() == [ONE, "two"]


def test_a_question_across_channels(database: Database) -> None:
    """As docs/guides/postgresql.md has it."""
    for schema, views in ((ONE, 2), ("two", 3)):
        engine = init_db(database.url, schema=schema)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO discovered_videos (video_id, title, channel_name, channel_id, url,"
                    " niche, view_count, discovered_at, processed, content_id_risk)"
                    " VALUES ('v', 't', 'c', 'c', 'u', 'cats', :views, now(), 0, 'low')"
                ),
                {"views": views},
            )
        engine.dispose()
    engine = plain_engine(database.url)
    with engine.connect() as connection:
        schemas = ["one", "two"]
        quote = connection.dialect.identifier_preparer.quote_identifier
        each = " UNION ALL ".join(
            f"SELECT niche, view_count FROM {quote(schema)}.discovered_videos" for schema in schemas
        )
        asked = text(f"SELECT niche, sum(view_count) FROM ({each}) AS every GROUP BY niche")
        assert [tuple(row) for row in connection.execute(asked)] == [("cats", 5)]
    engine.dispose()


def test_sqlite_has_no_schemas(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    for given in (path, f"sqlite:///{path}?timeout=3"):
        with pytest.raises(OperationRefused, match="is of SQLite, which has no schemas"):
            Target.parse(given, ONE)
    with pytest.raises(ArgumentError, match="SQLite has no schemas"):
        create_engine(path, schema=ONE)
    refused = run("status", "--url", path, "--all-schemas")
    assert refused.exit_code == 1
    assert "has no schemas" in refused.output


@pytest.mark.parametrize("name", ["$user", "pg_mine", "information_schema", "c" * 64, "ä" * 32])
def test_a_name_that_postgresql_cuts_or_reserves_is_refused(name: str) -> None:
    with pytest.raises(OperationRefused, match="cannot be the schema of a channel"):
        Target.parse("postgresql://h/d", name)
