"""Upgrade a schema managed by Alembic in place, safely for SQLite files that hold data.

This works for any schema whose revisions meet these preconditions:

- There is one head: each revision follows the one before. Otherwise a migration is refused.
- Ids are decimal numbers of equal length, as assigned by `alembic revision` here. They distinguish
  a database of newer code from one of other software, and determine the next number.
- Revisions do not commit, roll back or leave the transaction. Otherwise the migration is refused.
- The version table has Alembic's default name, alembic_version.

`run` takes the metadata and the baselines, which are the schemas that databases without a version
may have. Without baselines it upgrades only new databases and those with a version.

Other packages of shortsdb import only the names below. They are loaded on first use, because the
list of revisions and the status of a SQLite file need neither Alembic nor SQLAlchemy, which take
half a second to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shortsdb.migration.baselines import BASELINES
    from shortsdb.migration.database import create_migration_engine, read_only_connection
    from shortsdb.migration.drift import find_drift
    from shortsdb.migration.environment import print_sql, run, x_arguments
    from shortsdb.migration.errors import MigrationRefused, as_migration_refused
    from shortsdb.migration.locks import advisory_lock, set_timeouts
    from shortsdb.migration.postgresql_schema import read_server_version
    from shortsdb.migration.preview import Preview, preview_migration
    from shortsdb.migration.rehearsal import Rehearsal, rehearse
    from shortsdb.migration.revisions import alembic_config, revision_checksums, revision_ids
    from shortsdb.migration.status import (
        Status,
        outdated,
        read_applied,
        read_file,
        read_status,
        versioned_schemas,
    )

__all__ = [
    "BASELINES",
    "MigrationRefused",
    "Preview",
    "Rehearsal",
    "Status",
    "advisory_lock",
    "alembic_config",
    "as_migration_refused",
    "create_migration_engine",
    "find_drift",
    "outdated",
    "preview_migration",
    "print_sql",
    "read_applied",
    "read_file",
    "read_only_connection",
    "read_server_version",
    "read_status",
    "rehearse",
    "revision_checksums",
    "revision_ids",
    "run",
    "set_timeouts",
    "versioned_schemas",
    "x_arguments",
]

_MODULES = {
    "baselines": ("BASELINES",),
    "database": ("create_migration_engine", "read_only_connection"),
    "drift": ("find_drift",),
    "environment": ("print_sql", "run", "x_arguments"),
    "errors": ("MigrationRefused", "as_migration_refused"),
    "locks": ("advisory_lock", "set_timeouts"),
    "postgresql_schema": ("read_server_version",),
    "preview": ("Preview", "preview_migration"),
    "rehearsal": ("Rehearsal", "rehearse"),
    "revisions": ("alembic_config", "revision_checksums", "revision_ids"),
    "status": (
        "Status",
        "outdated",
        "read_applied",
        "read_file",
        "read_status",
        "versioned_schemas",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
