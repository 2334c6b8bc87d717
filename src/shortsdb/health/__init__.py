"""Check whether a database is reachable, at head and undamaged.

Names are imported on first use, because checking a SQLite file does not need SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shortsdb.health.engines import check_db_health, check_db_health_async
    from shortsdb.health.report import Health
    from shortsdb.health.sqlite_file import check_file_health

__all__ = ["Health", "check_db_health", "check_db_health_async", "check_file_health"]

_MODULE_OF = {"Health": "report", "check_file_health": "sqlite_file"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF.get(name, 'engines')}"), name)
