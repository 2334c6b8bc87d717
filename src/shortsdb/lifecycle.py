"""From no database to one of this release, and back to none."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from shortsdb import url
from shortsdb.engine import create_async_engine, create_engine
from shortsdb.models import Base

if TYPE_CHECKING:
    import os

    from sqlalchemy import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

# Alembic's environment is global to the process: one upgrade at a time.
_upgrading = threading.Lock()


def init_db(db_path: str | os.PathLike[str] | URL) -> Engine:
    """Create the database or upgrade it to this release, and return an engine on it.

    Runs the packaged revisions, and recognises a deployed database that has no version yet. Works
    inside a running event loop too, which it blocks meanwhile.

    Args:
        db_path: The database, by path or URL; ":memory:" for one that goes with the engine.

    Raises:
        shortsdb.migration.MigrationRefused: It was left as it was; the message says why.
        sqlalchemy.exc.ArgumentError: The URL is malformed.
    """
    engine = create_engine(db_path)
    try:
        if url.in_memory(engine.url):
            with engine.connect() as connection:
                upgrade(connection=connection)
        else:
            upgrade(url=engine.url)
    except BaseException:
        engine.dispose()
        raise
    return engine


async def init_db_async(db_path: str | os.PathLike[str] | URL) -> AsyncEngine:
    """Do as `init_db` and return an async engine; the event loop is not blocked meanwhile."""
    engine = create_async_engine(db_path)
    try:
        if url.in_memory(engine.url):
            # Only this connection sees the database, and Alembic, global as it is, must not be
            # suspended by what it awaits: so another one is migrated, and its schema copied.
            script = await asyncio.to_thread(_migrated_in_memory)
            async with engine.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                await driver.executescript(script)
        else:
            await asyncio.to_thread(upgrade, url=engine.url)
    except BaseException:
        await engine.dispose()
        raise
    return engine


def upgrade(**attributes: object) -> None:
    """Upgrade a database to this release, one in this process at a time.

    Args:
        attributes: What Alembic's environment is told: `url` or `connection`, and `backup`.

    Raises:
        shortsdb.migration.MigrationRefused: It was left as it was; the message says why.
    """
    # Half a second that an application which upgrades nothing need not wait for.
    from alembic import command  # noqa: PLC0415

    from shortsdb.config import alembic_config  # noqa: PLC0415

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


def drop_db(engine: Engine, *, confirm: bool = False, confirm_again: bool = False) -> None:
    """Drop all tables of shortsdb with all rows in them; tables of other software stay.

    Raises:
        ValueError: Not both confirmations are given.
    """
    if not (confirm and confirm_again):
        raise ValueError("drop_db loses all rows: say so with confirm=True and confirm_again=True")
    with engine.begin() as connection:
        Base.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
