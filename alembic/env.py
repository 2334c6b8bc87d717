"""Alembic's environment: says which metadata and which database, and hands over."""

import os

from alembic import context

from shortsdb import log, migration
from shortsdb.models import metadata
from shortsdb.shapes import KNOWN_SHAPES

config = context.config

# Only the alembic program configures logging: an application that runs a command keeps its own.
if config.cmd_opts is not None:
    log.configure("shortsdb", "alembic.autogenerate")

arguments = context.get_x_argument(as_dictionary=True)
migration.run(
    url=(
        arguments.get("url")
        or config.attributes.get("url")
        or os.environ.get("SHORTSDB_URL")
        or config.get_main_option("sqlalchemy.url", "")
    ),
    metadata=metadata,
    shapes=KNOWN_SHAPES,
    backup=(
        arguments.get("backup")
        or config.attributes.get("backup")
        or os.environ.get("SHORTSDB_BACKUP")
    ),
)
