"""In-place upgrades of a schema that Alembic manages, safe for SQLite files with data in them.

Knows no table by itself: the metadata and the known unversioned shapes are arguments.
"""

from shortsdb.migration.environment import run, x_arguments
from shortsdb.migration.errors import MigrationRefused

__all__ = ["MigrationRefused", "run", "x_arguments"]
