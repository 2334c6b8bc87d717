"""Database URLs: from what a caller gives, URL or path, to SQLAlchemy's URL."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from shortsdb.sqlite.files import behind_link

SYNC_DRIVERS = {
    "sqlite+aiosqlite": "sqlite",
    "postgresql+psycopg_async": "postgresql+psycopg",
    # SQLAlchemy 2.0 would take psycopg2, which the extra `postgres` does not bring.
    "postgresql": "postgresql+psycopg",
}
"""The sync driver of the same database, by the async one or none."""

_MALFORMED = (
    "the database URL is malformed; it has the form sqlite:///PATH or "
    "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, special characters of a password "
    "percent-encoded"
)


def parse(given: str | os.PathLike[str] | URL) -> URL:
    """Return the URL of a database given by URL or by path; a path names an SQLite file.

    Raises:
        ArgumentError: It is malformed. The message does not repeat it: it may hold a password.
    """
    if isinstance(given, str) and given.startswith(("sqlite:", "file:")) and "://" not in given:
        raise ArgumentError(_MALFORMED)  # else a file of that name would be made
    if isinstance(given, os.PathLike) or (isinstance(given, str) and "://" not in given):
        return URL.create("sqlite", database=os.fspath(given))
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        # Not chained: the text of the cause may hold a password too.
        raise ArgumentError(_MALFORMED) from None
    if url.get_backend_name() == "sqlite" and url.host:
        raise ArgumentError(_MALFORMED)  # sqlite://x.db: a slash is missing
    if "@" in (url.host or ""):
        raise ArgumentError(_MALFORMED)  # the end of a password, which would be printed
    return url


def in_memory(url: URL) -> bool:
    """Return whether `url` is of an SQLite database without a file, gone with its connection."""
    return url.get_backend_name() == "sqlite" and (
        url.database in {None, "", ":memory:", "file::memory:"} or url.query.get("mode") == "memory"
    )


def file(url: URL) -> Path | None:
    """Return the file of an SQLite URL; None for other databases, in memory, or a file: URI.

    Where the path is a link it is the file behind it, beside which SQLite has its journal.
    """
    if url.get_backend_name() != "sqlite" or in_memory(url) or url.query.get("uri"):
        return None
    path = Path(url.database or "")
    return behind_link(path)
