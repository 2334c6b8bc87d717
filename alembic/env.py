"""Alembic's environment: says which metadata and which database, and hands over."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from alembic import context

from shortsdb import log, migration, settings

if TYPE_CHECKING:
    from sqlalchemy import MetaData

config = context.config

# Only the alembic program configures logging: an application that runs a command keeps its own.
if config.cmd_opts is not None:
    log.configure("shortsdb", "alembic.autogenerate")
    config.stdout = sys.stdout  # it was bound before, when standard output may have been closed


def metadata() -> MetaData:
    """Return the schema as the models have it."""
    # An upgrade needs neither of them.
    from shortsdb.model_docs import refuse_incomplete_models  # noqa: PLC0415
    from shortsdb.models import metadata  # noqa: PLC0415

    if getattr(config.cmd_opts, "autogenerate", False):
        refuse_incomplete_models()
    return metadata


arguments = migration.x_arguments()
migration.run(
    url=(
        arguments.get("url")
        or config.attributes.get("url")
        or settings.database_url()
        or config.get_main_option("sqlalchemy.url", "")
    ),
    metadata=metadata,
    baselines=migration.BASELINES,
    backup=(arguments.get("backup") or config.attributes.get("backup") or settings.backup()),
    schema=(arguments.get("schema") or config.attributes.get("schema")),
    must_exist=arguments.get("must-exist", config.attributes.get("must_exist")),
)
