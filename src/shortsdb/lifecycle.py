"""Create, upgrade and drop the database."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from shortsdb import url
from shortsdb.engine import create_async_engine, create_engine
from shortsdb.health import check_db_health
from shortsdb.log import get_logger, logged
from shortsdb.models import OWN_TABLES, Base
from shortsdb.sqlite.version import BOOKKEEPING

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

log = get_logger(__name__)

# Alembic's environment is global to the process: one upgrade at a time.
_upgrading = threading.Lock()


@logged
def init_db(db_path: str | os.PathLike[str] | URL, *, schema: str | None = None) -> Engine:
    """Create the database or upgrade it to this release, and return an engine on it.

    Runs the packaged migrations, and recognises a deployed database that has no version yet. Then
    creates missing tables that the application declares on `Base`, as `create_all` does. It can be
    called inside a running event loop, but blocks it.

    A user with read access only gets an engine on a SQLite file that is at head.

    Args:
        db_path: The database, by path or URL; ":memory:" for one that exists as long as the engine.
        schema: The schema of a PostgreSQL database, see `create_engine`; created if necessary.

    Raises:
        ValueError: `db_path` is empty.
        shortsdb.migration.MigrationRefused: The database was not changed; the message says why.
        sqlalchemy.exc.ArgumentError: The URL is malformed.
    """
    _refuse_empty(db_path)
    engine = create_engine(db_path, schema=schema)
    try:
        if url.in_memory(engine.url):
            with engine.connect() as connection:
                upgrade(connection=connection)
        elif not _read_only_at_head(engine):
            upgrade(url=engine.url, schema=schema)
        _create_other_tables(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


async def init_db_async(
    db_path: str | os.PathLike[str] | URL, *, schema: str | None = None
) -> AsyncEngine:
    """Do as `init_db` without blocking the event loop, and return an async engine."""
    _refuse_empty(db_path)
    engine = create_async_engine(db_path, schema=schema)
    try:
        if url.in_memory(engine.url):
            # Alembic's environment is global, so a migration must not await. Another database in
            # memory is migrated in a thread, and its schema is copied to this one.
            script = await asyncio.to_thread(_migrated_in_memory)
            async with engine.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                await driver.executescript(script)
        else:
            (await asyncio.to_thread(init_db, engine.url, schema=schema)).dispose()
    except BaseException:
        await engine.dispose()
        raise
    return engine


def _refuse_empty(db_path: object) -> None:
    # With an empty one, create_engine would use the database named by the environment.
    if db_path is None or (isinstance(db_path, str) and not db_path.strip()):
        raise ValueError("db_path is empty: name the database by its path or URL")


def _read_only_at_head(engine: Engine) -> bool:
    """Return whether the SQLite file of an engine is read-only for this user, and at head.

    Raises:
        shortsdb.migration.MigrationRefused: The file is read-only, and reading it fails.
    """
    file = url.file(engine.url)
    if file is None or not file.exists():
        return False
    if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
        return False
    health = check_db_health(engine, thorough=False)
    if health.error and os.access(file, os.R_OK):
        from shortsdb.migration import MigrationRefused  # noqa: PLC0415 - as in `upgrade`

        raise MigrationRefused(
            f"{file}: this user may only read it, and to read a file in WAL mode that nobody has "
            f"open, SQLite must create its -shm beside it ({health.error}). Let the user write to "
            "the file and its folder, or open it while the application has it open"
        )
    if health.revision != health.head:
        return False
    log.info("%s is at %s already: nothing to do", file, health.head)
    return True


def _create_other_tables(engine: Engine) -> None:
    """Create the missing tables that the application declares on `Base`."""
    tables = [table for table in Base.metadata.sorted_tables if table.key not in OWN_TABLES]
    if not tables:
        return
    if engine.dialect.name == "sqlite":
        # An explicit transaction, so that one process at a time checks for tables and creates them.
        with engine.begin() as connection:
            Base.metadata.create_all(connection, tables)
        return
    from shortsdb.migration import advisory_lock  # noqa: PLC0415 - as in `upgrade`

    # The engine's READ COMMITTED shows tables that another process created while this one waited.
    with (
        engine.connect() as connection,
        advisory_lock(connection, "alembic_version", connection.begin),
    ):
        Base.metadata.create_all(connection, tables)


def upgrade(**attributes: object) -> None:
    """Upgrade a database to this release; a process runs one upgrade at a time.

    Args:
        attributes: Attributes for Alembic's environment: `url` or `connection`, `schema`, `backup`
            and `must_exist`.

    Raises:
        shortsdb.migration.MigrationRefused: The database was not changed; the message says why.
    """
    # Importing Alembic takes half a second, which most applications need not spend.
    from alembic import command  # noqa: PLC0415

    from shortsdb.migration import alembic_config  # noqa: PLC0415

    config = alembic_config()
    config.attributes |= attributes
    with _upgrading:
        command.upgrade(config, "head")


def _migrated_in_memory() -> str:
    engine = init_db(":memory:")
    with closing(engine.raw_connection()) as connection:
        driver: Any = connection.driver_connection
        script = "\n".join(driver.iterdump())
    engine.dispose()
    return script


@logged
def drop_db(engine: Engine, *, confirm: bool = False, confirm_again: bool = False) -> None:
    """Drop all tables of shortsdb with all their rows.

    Tables that the application declares on `Base` are dropped too, as by `drop_all`; other tables
    remain.

    Raises:
        ValueError: One of the confirmations is missing.
    """
    if not (confirm and confirm_again):
        raise ValueError("drop_db deletes all rows: it needs confirm=True and confirm_again=True")
    with engine.begin() as connection:
        Base.metadata.drop_all(connection)
        for table in sorted(BOOKKEEPING):
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
    log.info("dropped all tables of %s and their rows", engine.url.database)
