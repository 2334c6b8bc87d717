"""Rehearses a downgrade on an empty database, to say what would be lost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from alembic import command
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from shortsdb.log import quiet
from shortsdb.migration.database import display_name
from shortsdb.migration.plan import refuse_strange_version, refuse_unversioned
from shortsdb.migration.status import read_only_connection, rows_in

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import URL


def dropped_tables(url: URL, config: Config, revision: str) -> dict[str, int]:
    """Return the tables that a downgrade would drop, and how many rows each holds.

    Found out by doing the same to an empty database in memory.

    Args:
        url: The database.
        config: Alembic's, with the revisions; a connection is put into its attributes.
        revision: Where to.

    Raises:
        MigrationRefused: The database has no version or a strange one, or cannot be read, or there
            is no such revision below.
    """
    with read_only_connection(url) as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
        refuse_unversioned(heads, display_name(url))
        refuse_strange_version(heads, ScriptDirectory.from_config(config), display_name(url))
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
        return rows_in(connection, before - after)
