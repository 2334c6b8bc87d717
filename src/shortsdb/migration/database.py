"""Opens the database that a migration runs on."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from shortsdb import url as urls
from shortsdb.driver_errors import explain
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.transaction import read_only_transaction
from shortsdb.postgresql_session import set_search_path, use_iso_dates
from shortsdb.sqlite.file_checks import refuse_unusable_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shortsdb.target import Target


def create_migration_engine(target: Target, *, changes: bool) -> Engine:
    """Return an engine for one connection.

    Args:
        target: The database.
        changes: Whether the command changes it. One that does not never creates the file: where
            there is none it looks at an empty database in memory.

    Raises:
        MigrationRefused: The file cannot be used, or the URL names a driver that is not there.
    """
    url, file = target.url, target.file
    if file is not None:
        refuse_unusable_file(file, changes=changes)
        if not changes and not file.exists():
            url = URL.create("sqlite")
    schema = target.schema
    # No cause is chained: it may repeat the URL.
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args=urls.connect_args(url))
    except NoSuchModuleError:
        raise MigrationRefused(
            f"{target}: {url.drivername} is not known; sqlite, sqlite+aiosqlite and "
            "postgresql+psycopg are"
        ) from None
    except ModuleNotFoundError as error:
        extra = " (pip install 'shortsdb[postgres]')" if "psycopg" in str(error) else ""
        raise MigrationRefused(
            f"{target}: the driver {url.drivername} is not installed{extra}"
        ) from error
    except (ArgumentError, TypeError, ValueError):
        raise MigrationRefused(urls.MALFORMED) from None
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", use_iso_dates)
    if schema is not None:
        event.listen(engine, "begin", lambda connection: set_search_path(connection, schema))
    return engine


@contextmanager
def read_only_connection(target: Target) -> Iterator[Connection]:
    """Give a connection to a database, in a transaction; it cannot write to a SQLite file.

    Where there is no SQLite file it is one to an empty database in memory.

    Raises:
        MigrationRefused: The database cannot be opened or read.
    """
    engine = create_migration_engine(target, changes=False)
    try:
        with engine.connect() as connection, read_only_transaction(connection):
            yield connection
    except (DBAPIError, sqlite3.Error) as error:  # PRAGMAs do not go through SQLAlchemy
        raise MigrationRefused(explain(error, target.name)) from error
