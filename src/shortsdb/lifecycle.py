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

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

log = get_logger(__name__)

# Alembic's environment is global to the process: one upgrade at a time.
_upgrading = threading.Lock()


@logged
def init_db(db_path: str | os.PathLike[str] | URL, *, schema: str | None = None) -> Engine:
    """Create the database or upgrade it to this release, and return an engine on it.

    Runs the packaged revisions, and recognises a deployed database that has no version yet. Then
    creates the tables that the application declares on `Base` and the database does not have, as
    `create_all` does. Works inside a running event loop too, which it blocks meanwhile.

    A user who may only read an SQLite file gets an engine on it if it is at head.

    Args:
        db_path: The database, by path or URL; ":memory:" for one that goes with the engine.
        schema: The schema of a PostgreSQL database, see `create_engine`; created if need be.

    Raises:
        ValueError: `db_path` is empty.
        shortsdb.migration.MigrationRefused: It was left as it was; the message says why.
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
    """Do as `init_db` and return an async engine; the event loop is not blocked meanwhile."""
    _refuse_empty(db_path)
    engine = create_async_engine(db_path, schema=schema)
    try:
        if url.in_memory(engine.url):
            # Only this connection sees the database, and Alembic, global as it is, must not be
            # suspended by what it awaits: so another one is migrated, and its schema copied.
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
    # Without one, create_engine takes what the environment names: another database than was meant.
    if db_path is None or (isinstance(db_path, str) and not db_path.strip()):
        raise ValueError("db_path is empty: name the database by its path or URL")


def _read_only_at_head(engine: Engine) -> bool:
    """Return whether this user may only read the SQLite file of an engine, and it is at head.

    Raises:
        shortsdb.migration.MigrationRefused: The user may only read it, and not even that works.
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
            f"{file}: this user may only read it, and SQLite cannot read a file in WAL mode that "
            f"nobody has open without making its -shm beside it ({health.error}). Let the user "
            "write to the file and its folder, or open it while the application has it open"
        )
    if health.revision != health.head:
        return False
    log.info("%s is at %s already: nothing to do", file, health.head)
    return True


def _create_other_tables(engine: Engine) -> None:
    """Create the tables that the application declares on `Base`, where they are not there."""
    tables = [table for table in Base.metadata.sorted_tables if table.key not in OWN_TABLES]
    if not tables:
        return
    if engine.dialect.name == "sqlite":
        # Explicitly begun, so that of several processes one looks and creates at a time.
        with engine.begin() as connection:
            Base.metadata.create_all(connection, tables)
        return
    from shortsdb.migration import advisory_lock  # noqa: PLC0415 - as in `upgrade`

    # READ COMMITTED, to see what another process has created while this one waited.
    committed = engine.execution_options(isolation_level="READ COMMITTED")
    with (
        committed.connect() as connection,
        advisory_lock(connection, "alembic_version", connection.begin),
    ):
        Base.metadata.create_all(connection, tables)


def upgrade(**attributes: object) -> None:
    """Upgrade a database to this release, one in this process at a time.

    Args:
        attributes: What Alembic's environment is told: `url` or `connection`, `schema`, `backup`.

    Raises:
        shortsdb.migration.MigrationRefused: It was left as it was; the message says why.
    """
    # Half a second that an application which upgrades nothing need not wait for.
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
    """Drop all tables of shortsdb, with all rows in them; tables of other software stay.

    Those that the application declares on `Base` are dropped with them, as by `drop_all`.

    Raises:
        ValueError: Not both confirmations are given.
    """
    if not (confirm and confirm_again):
        raise ValueError("drop_db loses all rows: say so with confirm=True and confirm_again=True")
    with engine.begin() as connection:
        Base.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    log.info("dropped all tables of %s and their rows", engine.url.database)
