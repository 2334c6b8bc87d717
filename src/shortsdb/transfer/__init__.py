"""Moves a whole database between SQLite and PostgreSQL, verified, in one transaction."""

from shortsdb.transfer.database_copy import TableChecksum, copy

__all__ = ["TableChecksum", "copy"]
