"""A migration that would end the transaction of its upgrade is refused, and nothing is kept."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import extra_revision
import legacy_database
import pytest
from alembic import command
from inspect_sqlite import execute, row_hashes, schema, version
from project import HEAD
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from shortsdb.migration import MigrationRefused
from shortsdb.migration.revision_run import MigrationHalfApplied
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postgresql_server import Server

RAW = "op.get_bind().connection.dbapi_connection"
COMMITS = {
    "autocommit_block": "with op.get_context().autocommit_block():\n    op.execute('SELECT 1')",
    "commit of the connection": "op.get_bind().commit()",
    "rollback of the connection": "op.get_bind().rollback()",
    "COMMIT": "op.execute('COMMIT')",
    "END": "op.execute('/* x */ end transaction')",
    "ROLLBACK": "op.execute('ROLLBACK')",
    "COMMIT and BEGIN": "op.execute('COMMIT')\nop.execute('BEGIN')",
    "COMMIT by a cursor": f"{RAW}.cursor().execute('COMMIT')",
    "commit of the driver": f"{RAW}.commit()",
    "rollback of the driver": f"{RAW}.rollback()",
    "swallowed": "try:\n    op.get_bind().commit()\nexcept Exception:\n    pass",
    "swallowed by a cursor": (
        f"try:\n    {RAW}.cursor().execute('COMMIT')\nexcept Exception:\n    pass"
    ),
    "followed by another error": (
        "try:\n    op.get_bind().commit()\nexcept Exception:\n    raise ValueError('x')"
    ),
}
ONLY_SQLITE = {
    "isolation_level": f"{RAW}.isolation_level = None; {RAW}.commit()",
    "executescript": f"{RAW}.executescript('CREATE TABLE more (id INTEGER)')",
    "INSERT OR ROLLBACK": (
        "try:\n"
        "    op.execute('INSERT OR ROLLBACK INTO pipeline_runs SELECT * FROM pipeline_runs')\n"
        "except Exception:\n"
        "    pass\n"
        "op.execute('CREATE TABLE after_it (id INTEGER)')"
    ),
    "ATTACH": "op.execute(\"ATTACH ':memory:' AS other\")",
    "writable_schema": "op.execute('PRAGMA writable_schema = ON')",
    "journal_mode": "op.execute('PRAGMA main.journal_mode = OFF')",
}
HALF = "op.create_table('half', sa.Column('id', sa.Integer()))\n"


@pytest.fixture
def path(head_file: Path, tmp_path: Path) -> Path:
    """Return a file at head with rows in it."""
    path = tmp_path / "head.db"
    path.write_bytes(head_file.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        legacy_database.fill(connection, 60)
    return path


def by_url(folder: Path, path: Path) -> None:
    command.upgrade(extra_revision.config(folder, path), "head")


def on_connection(folder: Path, path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        try:
            command.upgrade(extra_revision.config(folder, None, connection), "head")
        finally:
            assert not connection.in_transaction()
            driver: Any = connection.connection.driver_connection
            assert not driver.in_transaction
            assert driver.isolation_level == ""
            driver.execute("BEGIN")  # nothing denies it any more
            driver.execute("COMMIT")


def in_transaction(folder: Path, path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        try:
            command.upgrade(extra_revision.config(folder, None, connection), "head")
            connection.commit()
        finally:
            connection.rollback()


def by_aiosqlite(folder: Path, path: Path) -> None:
    def upgrade(connection: Connection) -> None:
        command.upgrade(extra_revision.config(folder, None, connection), "head")

    async def main() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        try:
            async with engine.connect() as connection:
                await connection.run_sync(upgrade)
        finally:
            await engine.dispose()

    asyncio.run(main())


WAYS = [by_url, on_connection, in_transaction, by_aiosqlite]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    "body", [*COMMITS.values(), *ONLY_SQLITE.values()], ids=[*COMMITS, *ONLY_SQLITE]
)
def test_a_committing_revision_is_refused_and_named(
    path: Path, tmp_path: Path, way: Callable[[Path, Path], None], body: str
) -> None:
    if way is by_aiosqlite:  # SQLAlchemy's adapter has no executescript
        body = body.replace(
            f"{RAW}.executescript(",
            f"{RAW}.run_async(lambda driver: driver.executescript(",
        ).replace(
            "(id INTEGER)')", "(id INTEGER)'))" if "executescript" in body else "(id INTEGER)')"
        )
    extra_revision.add(tmp_path, HALF + body)
    before = schema(path), row_hashes(path)
    if way is in_transaction and "autocommit_block" in body:
        with pytest.raises(AssertionError):  # Alembic's own: it cannot commit the caller's
            way(tmp_path, path)
        assert (schema(path), row_hashes(path)) == before
        return
    with pytest.raises(MigrationRefused) as refusal:
        way(tmp_path, path)
    message = str(refusal.value)
    assert f"revision {extra_revision.number()} runs" in message
    assert "nothing was changed" in message
    assert "authorized" not in message
    assert (schema(path), row_hashes(path)) == before
    assert version(path) == [HEAD]
    assert not list(tmp_path.glob("backups/*"))
    # After the revision is corrected, the upgrade succeeds.
    extra_revision.add(tmp_path, HALF)
    way(tmp_path, path)
    assert version(path) == [extra_revision.number()]


def test_savepoints_and_harmless_pragmas_are_allowed(path: Path, tmp_path: Path) -> None:
    extra_revision.add(
        tmp_path,
        "with op.get_bind().begin_nested():\n"
        "    op.execute('CREATE TABLE kept (id INTEGER)')\n"
        "op.execute('PRAGMA user_version = 7')\n"
        "op.execute('PRAGMA journal_mode')",
    )
    by_url(tmp_path, path)
    assert "kept" in schema(path)


class WithoutAuthorizer(sqlite3.Connection):
    """A connection of a driver that has none."""

    set_authorizer = None  # type: ignore[assignment]


@pytest.mark.parametrize("name", COMMITS)
def test_without_an_authorizer_the_upgrade_stops_at_once(
    path: Path, tmp_path: Path, name: str
) -> None:
    extra_revision.add(tmp_path, HALF + COMMITS[name] + "\nop.execute('CREATE TABLE never (id)')")
    engine = create_engine(f"sqlite:///{path}", connect_args={"factory": WithoutAuthorizer})
    with engine.connect() as connection, pytest.raises(MigrationRefused) as refusal:
        command.upgrade(extra_revision.config(tmp_path, None, connection), "head")
    engine.dispose()
    half = "half" in schema(path)
    assert isinstance(refusal.value, MigrationHalfApplied) == half or "rollback" in name.lower()
    assert version(path) == [HEAD]
    if isinstance(refusal.value, MigrationHalfApplied):
        (backup,) = tmp_path.glob("backups/*.db")
        assert f"the database is at {HEAD}, and may also contain parts of" in str(refusal.value)
        assert str(backup) in str(refusal.value)
        assert "half" not in schema(backup)
    else:
        assert "nothing was changed" in str(refusal.value)
    # Statements sent without SQLAlchemy are detected only at the end of the revision.
    past_sqlalchemy = "driver" in name or "cursor" in name
    assert past_sqlalchemy or "never" not in schema(path)


@pytest.mark.parametrize("name", COMMITS)
def test_postgresql(postgres: Server, tmp_path: Path, name: str) -> None:
    database = postgres.create_database()
    command.upgrade(alembic_config(database.url), "head")
    extra_revision.add(
        tmp_path, HALF + COMMITS[name] + "\nop.execute('CREATE TABLE never (id int)')"
    )
    with pytest.raises(MigrationRefused) as refusal:
        command.upgrade(extra_revision.config(tmp_path, database.url), "head")
    half = database.psql("SELECT to_regclass('half') IS NOT NULL") == "t\n"
    assert f"revision {extra_revision.number()}" in str(refusal.value)
    assert isinstance(refusal.value, MigrationHalfApplied) == half or "ollback" in name.lower()
    assert ("nothing was changed" in str(refusal.value)) != isinstance(
        refusal.value, MigrationHalfApplied
    )
    assert database.psql("SELECT version_num FROM alembic_version") == f"{HEAD}\n"
    postgres.drop_database(database)


@pytest.mark.parametrize(
    "error",
    ["op.execute('SELECT 1/0')", f"{RAW}.cursor().execute('SELECT 1/0')", "raise ValueError"],
)
def test_postgresql_a_commit_before_an_error_is_reported(
    postgres: Server, tmp_path: Path, error: str
) -> None:
    """After the error the server answers nothing in the transaction that came after the COMMIT."""
    database = postgres.create_database()
    command.upgrade(alembic_config(database.url), "head")
    body = f"{HALF}{RAW}.cursor().execute('COMMIT')\n{error}"
    extra_revision.add(tmp_path, body)
    with pytest.raises(MigrationHalfApplied, match="has ended the transaction of the upgrade"):
        command.upgrade(extra_revision.config(tmp_path, database.url), "head")
    assert database.psql("SELECT to_regclass('half') IS NOT NULL") == "t\n"
    postgres.drop_database(database)


LOST = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.mark.parametrize("commit", ["", f"{RAW}.cursor().execute('COMMIT')\n"], ids=["", "COMMIT"])
@pytest.mark.parametrize("cursor", ["op", f"{RAW}.cursor()"])
def test_postgresql_a_lost_connection_and_a_commit_before_it(
    postgres: Server, tmp_path: Path, cursor: str, commit: str
) -> None:
    database = postgres.create_database()
    command.upgrade(alembic_config(database.url), "head")
    extra_revision.add(tmp_path, f"{HALF}{commit}{cursor}.execute('{LOST}')")
    what = "has ended the transaction" if commit else "terminating connection.*nothing was changed"
    engine = create_engine(database.url, pool_size=1, max_overflow=0)
    with (
        engine.connect() as connection,
        pytest.raises(MigrationRefused, match=what) as refusal,
    ):
        command.upgrade(extra_revision.config(tmp_path, None, connection), "head")
    engine.dispose()
    assert isinstance(refusal.value, MigrationHalfApplied) == bool(commit)
    half = database.psql("SELECT to_regclass('half') IS NOT NULL") == "t\n"
    assert half == bool(commit)
    postgres.drop_database(database)


@pytest.mark.parametrize("cursor", ["op", f"{RAW}.cursor()"])
def test_postgresql_an_error_without_a_commit_changes_nothing(
    postgres: Server, tmp_path: Path, cursor: str
) -> None:
    database = postgres.create_database()
    command.upgrade(alembic_config(database.url), "head")
    extra_revision.add(tmp_path, f"{HALF}{cursor}.execute('SELECT 1/0')")
    with pytest.raises(MigrationRefused, match=r"division by zero.*nothing was changed") as refusal:
        command.upgrade(extra_revision.config(tmp_path, database.url), "head")
    assert not isinstance(refusal.value, MigrationHalfApplied)
    assert database.psql("SELECT to_regclass('half') IS NULL") == "t\n"
    postgres.drop_database(database)


def test_postgresql_with_autocommit_is_refused(postgres: Server) -> None:
    database = postgres.create_database()
    engine = create_engine(database.url, isolation_level="AUTOCOMMIT")
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        with pytest.raises(MigrationRefused, match="AUTOCOMMIT"):
            command.upgrade(config, "head")
    engine.dispose()
    assert database.schema()["columns"] == []
    postgres.drop_database(database)


def test_a_database_error_in_a_revision_is_reported(path: Path, tmp_path: Path) -> None:
    execute(path, "CREATE TABLE half (id)")
    extra_revision.add(tmp_path, HALF)
    with pytest.raises(MigrationRefused, match="table half already exists"):
        by_url(tmp_path, path)


def test_postgresql_a_connection_handed_in_has_nothing_of_a_refused_revision(
    postgres: Server, tmp_path: Path
) -> None:
    """Neither now nor with the caller's next commit, which nothing refuses any more."""
    database = postgres.create_database()
    command.upgrade(alembic_config(database.url), "head")
    engine = create_engine(database.url, poolclass=NullPool)
    with engine.connect() as connection:
        for name in ("commit of the connection", "swallowed"):
            extra_revision.add(tmp_path, HALF + COMMITS[name])
            with pytest.raises(MigrationRefused, match="nothing was changed"):
                command.upgrade(extra_revision.config(tmp_path, None, connection), "head")
            connection.rollback()  # which SQLAlchemy demands after the refused commit
            connection.exec_driver_sql("SELECT 1")
            connection.commit()
            assert database.psql("SELECT to_regclass('half') IS NULL") == "t\n"
    postgres.drop_database(database)


def test_postgresql_an_error_in_a_savepoint_of_the_caller_ends_only_that(
    postgres: Server, tmp_path: Path
) -> None:
    database = postgres.create_database()
    command.upgrade(alembic_config(database.url), "head")
    extra_revision.add(tmp_path, f"{HALF}op.execute('SELECT 1/0')")
    engine = create_engine(database.url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE of_the_caller (id int)")
        with pytest.raises(MigrationRefused, match="division by zero"), connection.begin_nested():
            command.upgrade(extra_revision.config(tmp_path, None, connection), "head")
    found = "SELECT tablename FROM pg_tables WHERE tablename IN ('half', 'of_the_caller')"
    assert database.psql(found) == "of_the_caller\n"
    postgres.drop_database(database)


def test_a_rollback_that_is_an_error_too_is_said(path: Path, tmp_path: Path) -> None:
    body = "op.execute('INSERT OR ROLLBACK INTO pipeline_runs SELECT * FROM pipeline_runs')"
    extra_revision.add(tmp_path, HALF + body)
    before = schema(path), row_hashes(path)
    with pytest.raises(MigrationHalfApplied, match=f"ended .* the database is at {HEAD}, and may"):
        by_url(tmp_path, path)
    assert (schema(path), row_hashes(path)) == before
