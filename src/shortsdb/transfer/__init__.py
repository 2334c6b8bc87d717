"""Moves a whole database between SQLite and PostgreSQL, verified, in one transaction."""

from shortsdb.transfer.move import Verified, copy

__all__ = ["Verified", "copy"]
