"""Run a downgrade on an empty database, to report the tables that it would drop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from alembic import command
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from shortsdb.log import quiet
from shortsdb.migration.database import read_only_connection
from shortsdb.migration.plan import refuse_strange_version, refuse_unversioned

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from shortsdb.target import Target


def dropped_tables(target: Target, config: Config, revision: str) -> dict[str, int]:
    """Return the tables that a downgrade would drop, with their numbers of rows.

    The tables are found by running the downgrade on an empty database in memory.

    Args:
        target: The database.
        config: Alembic's configuration; a connection is put into its attributes.
        revision: The revision to downgrade to.

    Raises:
        MigrationRefused: The database has no version or an unknown one, or cannot be read, or there
            is no such revision below.
    """
    with read_only_connection(target) as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
        refuse_unversioned(heads, target)
        refuse_strange_version(heads, ScriptDirectory.from_config(config), target)
        engine = create_engine("sqlite://")
        try:
            with quiet(__package__, logging.WARNING), engine.connect() as rehearsal:
                config.attributes["connection"] = rehearsal
                command.upgrade(config, heads[0])
                before = set(inspect(rehearsal).get_table_names())
                rehearsal.rollback()
                command.downgrade(config, revision)
                after = set(inspect(rehearsal).get_table_names())
        finally:
            engine.dispose()
        return _rows_in(connection, before - after)


def _rows_in(connection: Connection, tables: set[str]) -> dict[str, int]:
    """Return the number of rows in each of `tables` that exists."""
    there = tables.intersection(inspect(connection).get_table_names())
    quote = connection.dialect.identifier_preparer.quote_identifier
    return {
        table: connection.exec_driver_sql(f"SELECT count(*) FROM {quote(table)}").scalar_one()  # noqa: S608 - quoted
        for table in sorted(there)
    }
