"""Set up a session of PostgreSQL, whatever its role or database is set to."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry


def use_iso_dates(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Have moments sent in the one form that psycopg reads; a listener of "connect".

    PgBouncer keeps this setting for each of its clients.
    """
    driver: Any = getattr(connection, "driver_connection", connection)
    if not driver.info.parameter_status("DateStyle").startswith("ISO"):
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET datestyle TO ISO")
        connection.commit()


def set_search_path(connection: Connection, schema: str) -> None:
    """Make unqualified names refer to one schema, whatever the settings of the role or database.

    The setting lasts for the transaction, because behind a pooler the session then serves another
    client. With AUTOCOMMIT it lasts for the session.

    Args:
        connection: A connection whose transaction has just begun.
        schema: The name of the schema, which need not exist yet.
    """
    driver: Any = connection.connection.driver_connection
    scope = "SESSION" if driver.autocommit else "LOCAL"
    quoted = schema.replace('"', '""')
    # Not through SQLAlchemy, which would treat it as the first statement of the transaction.
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(f'SET {scope} search_path TO "{quoted}"')
