"""The database that a command or migration is for, parsed once and handed down.

A plain SQLite file needs no SQLAlchemy, which takes a third of a second to import.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shortsdb import settings
from shortsdb.errors import OperationRefused
from shortsdb.paths import absolute, plausible_path
from shortsdb.sqlite.files import behind_link

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from sqlalchemy import URL

_NAME_BYTES = 63
_STARTS = ("sqlite:///", "sqlite+pysqlite:///", "sqlite+aiosqlite:///")


@dataclass(frozen=True)
class Target:
    """One database.

    Attributes:
        file: The file of a SQLite database, behind all links; None for others and in memory.
        name: What to call it in messages, which is its text too: its file, or its URL without
            secrets.
        schema: Where its tables are on PostgreSQL; None for the first of the search_path.
    """

    file: Path | None
    name: str
    _where: Path | URL
    schema: str | None = None

    def __str__(self) -> str:
        """Return what to call it in messages."""
        return self.name

    @classmethod
    def parse(cls, given: str | os.PathLike[str] | URL, schema: str | None = None) -> Target:
        """Return the database that is given by URL or by path.

        Without a schema that of SHORTSDB_SCHEMA counts, if the database is of PostgreSQL.

        Its URL is on the sync driver: a migration is one thing after another, and there is nothing
        for an async driver to do meanwhile. That opens the same database, also inside a running
        event loop.

        Raises:
            OperationRefused: It is malformed, or a file: URI, or has no schemas.
        """
        path = _plain_path(given) if isinstance(given, str) else None
        if path is not None:
            file = behind_link(path)
            return cls(file, str(file), path).in_schema(schema)
        from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - a plain file needs none

        from shortsdb import url as urls  # noqa: PLC0415 - as above

        try:
            url = urls.parse(given)
        except ArgumentError as error:
            raise OperationRefused(str(error)) from None
        if url.query.get("uri") and not urls.in_memory(url):
            raise OperationRefused(
                "a file: URI cannot be migrated; name the file itself by its path"
            )
        url = url.set(drivername=urls.SYNC_DRIVERS.get(url.drivername, url.drivername))
        if url.get_backend_name() == "postgresql":
            schema = schema or settings.schema()
        return cls.of(url).in_schema(schema)

    @classmethod
    def of(cls, url: URL) -> Target:
        """Return the database of a URL of SQLAlchemy's, such as that of an engine, as it is."""
        from shortsdb import url as urls  # noqa: PLC0415 - as above

        return cls(urls.file(url), urls.display(url), url)

    def in_schema(self, schema: str | None) -> Target:
        """Return the part of it that is in a schema of PostgreSQL; itself for None.

        Raises:
            OperationRefused: It is of SQLite, or the name is not that of one schema of an
                application to PostgreSQL.
        """
        if schema is None:
            return self
        if self.url.get_backend_name() == "sqlite":
            raise OperationRefused(
                f"{self} is of SQLite, which has no schemas; give each channel a file of its own"
            )
        reserved = schema in {"$user", "information_schema"} or schema.startswith("pg_")
        name = schema.encode(errors="ignore")
        # PostgreSQL cuts longer names, so that two of them would be one schema.
        if reserved or b"\0" in name or name.decode() != schema or not 0 < len(name) <= _NAME_BYTES:
            raise OperationRefused(
                f"{schema!r} cannot be the schema of a channel; choose a name of at most "
                f"{_NAME_BYTES} bytes that PostgreSQL does not reserve"
            )
        return replace(self, name=f"{self.name} (schema {schema})", schema=schema)

    @property
    def url(self) -> URL:
        """The URL by which SQLAlchemy opens it."""
        from sqlalchemy import URL  # noqa: PLC0415 - as above

        if isinstance(self._where, URL):
            return self._where
        return URL.create("sqlite", database=str(self._where))

    def refuse_in_memory(self) -> None:
        """Refuse a database that is gone when the command that works on it ends.

        Raises:
            OperationRefused: It is one in memory.
        """
        if self.file is None:
            from shortsdb import url as urls  # noqa: PLC0415 - as above

            if urls.in_memory(self.url):
                raise OperationRefused(
                    "a database in memory is gone when the command ends; name a file. An "
                    "application makes one with init_db(':memory:')"
                )


def _plain_path(given: str) -> Path | None:
    """Return the absolute path that a text certainly names, None to let `shortsdb.url` look."""
    if "://" not in given:
        return None if given in {"", ":memory:"} else plausible_path(given)
    for start in _STARTS:
        path = given.removeprefix(start)
        # SQLAlchemy 2.1 decodes a %, 2.0 does not; the others are parts of a URL.
        if path != given and path and not set("%:@=?~").intersection(path):
            return absolute(path)
    return None
