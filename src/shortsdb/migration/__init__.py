"""In-place upgrades of a schema that Alembic manages, safe for SQLite files with data in them.

Knows no table by itself: the metadata and the known unversioned schemas are arguments.

The names below are loaded when they are first used: to know the revisions of this release, or the
version of a SQLite file, needs neither Alembic nor SQLAlchemy, which take half a second to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shortsdb.migration.environment import run, x_arguments
    from shortsdb.migration.errors import MigrationRefused

__all__ = ["MigrationRefused", "run", "x_arguments"]

_MODULES = {
    "MigrationRefused": "errors",
    "run": "environment",
    "x_arguments": "environment",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
