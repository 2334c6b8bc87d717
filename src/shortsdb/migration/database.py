"""The database that a migration runs on: its URL, its name in messages, and an engine for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from shortsdb import url as urls
from shortsdb.migration.errors import MigrationRefused
from shortsdb.sqlite.file_checks import refuse_unusable_file

if TYPE_CHECKING:
    from pathlib import Path


def parse(given: str | URL) -> URL:
    """Return the URL of a database given by URL or by path, on its sync driver.

    A migration is one thing after another: there is nothing for an async driver to do meanwhile.
    The sync driver opens the same database, also inside a running event loop.

    Raises:
        MigrationRefused: It is malformed, or a file: URI.
    """
    try:
        url = urls.parse(given)
    except ArgumentError as error:
        raise MigrationRefused(str(error)) from None
    if url.query.get("uri") and not urls.in_memory(url):
        raise MigrationRefused("a file: URI cannot be migrated; name the file itself by its path")
    return url.set(drivername=urls.SYNC_DRIVERS.get(url.drivername, url.drivername))


def refuse_in_memory(url: URL) -> None:
    """Refuse a database that is gone when the command that works on it ends.

    Raises:
        MigrationRefused: It is one in memory.
    """
    if urls.in_memory(url):
        raise MigrationRefused(
            "a database in memory is gone when the command ends; name a file. An application "
            "makes one with init_db(':memory:')"
        )


display_name = urls.display


def immutable_url(backup: Path) -> URL:
    """Return a URL by which to read a backup so that nothing is made or changed beside it."""
    path = quote(os.fsencode(backup.absolute()))
    query = {"mode": "ro", "immutable": "1", "uri": "true"}
    return URL.create("sqlite", database=f"file://{path}", query=query)


def connectable(url: URL, *, changes: bool) -> Engine:
    """Return an engine for one connection.

    Args:
        url: The database.
        changes: Whether the command changes it. One that does not never creates the file: where
            there is none it looks at an empty database in memory.

    Raises:
        MigrationRefused: The file cannot be used, or the URL names a driver that is not there.
    """
    file = urls.file(url)
    if file is not None:
        refuse_unusable_file(file, changes=changes)
        if not changes and not file.exists():
            url = URL.create("sqlite")
    # No cause is chained: it may repeat the URL.
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args=urls.connect_args(url))
        engine.dialect.create_connect_args(url)  # else a bad parameter is found on connecting
    except NoSuchModuleError:
        raise MigrationRefused(
            f"{display_name(url)}: {url.drivername} is not known; sqlite, sqlite+aiosqlite and "
            "postgresql+psycopg are"
        ) from None
    except ModuleNotFoundError as error:
        extra = " (pip install 'shortsdb[postgres]')" if "psycopg" in str(error) else ""
        raise MigrationRefused(
            f"{display_name(url)}: the driver {url.drivername} is not installed{extra}"
        ) from error
    except (ArgumentError, TypeError, ValueError):
        raise MigrationRefused(urls.MALFORMED) from None
    return engine
