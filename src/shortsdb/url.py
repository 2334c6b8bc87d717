"""Parse database URLs and paths into SQLAlchemy URLs, and display them without secrets."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from shortsdb.errors import OperationRefused
from shortsdb.paths import absolute, may_hold_password, plausible_path
from shortsdb.printable import printable
from shortsdb.settings import CONNECTION_LIMITS
from shortsdb.sqlite.files import behind_link

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SYNC_DRIVERS = {
    "sqlite+aiosqlite": "sqlite",
    "postgresql+psycopg_async": "postgresql+psycopg",
    # SQLAlchemy 2.0 would use psycopg2, which the extra `postgres` does not install.
    "postgresql": "postgresql+psycopg",
}
"""The sync driver for a URL with an async driver, or without one."""

MALFORMED = (
    "the database URL is malformed; it has the form sqlite:///PATH or "
    "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, special characters of a password "
    "percent-encoded"
)
"""The message for a malformed URL; it does not repeat the URL, which may hold a password."""

_BACKENDS = ("sqlite", "postgresql")
_HOST = re.compile(r"[\w.,-]*|[0-9a-fA-F:.]+(%\w+)?")
# Several hosts with their ports, as in libpq; make_url does not support them.
_SEVERAL_HOSTS = re.compile(
    r"(?P<before>postgresql[\w+]*://([^@/?#,]*@)?)"
    r"(?P<hosts>(?=[\w.,-]*:)[\w.-]+(:[0-9]+)?(,[\w.-]+(:[0-9]+)?)+)(?=[/?]|$)"
)
_SECRET_PARAMETER = re.compile(r"pass(word|wd|phrase)|pwd|secret|token|scram_", re.IGNORECASE)
_SHOWN_PARAMETERS = ("host", "hostaddr", "port", "dbname", "service")


def parse(given: str | os.PathLike[str] | URL) -> URL:
    """Return the URL of a database given by URL or by path; a path names a SQLite file.

    The path is made absolute, and ~ is expanded. The parameter `?password=` is moved to the
    password of the URL, which SQLAlchemy does not print.

    Raises:
        ArgumentError: The URL is malformed, or of a database other than SQLite and PostgreSQL, or
            the text is not a plausible path, see `shortsdb.paths`. The message does not repeat the
            text, because it may hold a password.
    """
    if isinstance(given, os.PathLike) or (isinstance(given, str) and "://" not in given):
        if given in {"", ":memory:"}:
            return URL.create("sqlite", database=str(given))
        return URL.create("sqlite", database=_resolved(plausible_path, given))
    hosts: list[str] = []
    if isinstance(given, str) and (listed := _SEVERAL_HOSTS.match(given)):
        hosts = listed["hosts"].split(",")
        given = listed["before"] + given[listed.end() :]
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        # Not chained, because the message of the cause may hold a password.
        raise ArgumentError(MALFORMED) from None
    if url.get_backend_name() not in _BACKENDS:
        # make_url matches the name as a word, so it is safe to print.
        raise ArgumentError(
            f"the database URL names {printable(url.get_backend_name(), 20)}, which is not "
            "supported; sqlite, sqlite+aiosqlite and postgresql+psycopg are"
        )
    if url.get_backend_name() == "sqlite":
        # The part after a question mark may have been intended as part of a password.
        after = given.partition("://")[2] if isinstance(given, str) else url.database or ""
        if may_hold_password(after.removeprefix("/").removeprefix("file:")):
            raise ArgumentError(MALFORMED)
        return _parse_sqlite(url)
    # More than one @ means that a password is not encoded and would end up in the host or path.
    if isinstance(given, str) and given.count("@") > 1:
        raise ArgumentError(MALFORMED)
    # SQLAlchemy's form for several hosts is one parameter `host` for each.
    return _parse_server(url.update_query_pairs([("host", host) for host in hosts], append=True))


def _resolved(resolve: Callable[[T], Path], given: T) -> str:
    try:
        return str(resolve(given))
    except OperationRefused as refusal:
        raise ArgumentError(str(refusal)) from None


def _parse_sqlite(url: URL) -> URL:
    if url.host or url.username or url.password or url.port:
        raise ArgumentError(MALFORMED)  # a slash is missing, as in sqlite://x.db
    if any(map(_SECRET_PARAMETER.search, url.query)):
        raise ArgumentError(MALFORMED)
    if in_memory(url) or url.query.get("uri"):
        return url
    return url.set(database=_resolved(absolute, url.database or ""))


def _parse_server(url: URL) -> URL:
    password = url.query.get("password")
    if password is not None:
        if not isinstance(password, str):
            raise ArgumentError(MALFORMED)
        url = url.difference_update_query(["password"]).set(password=password)
    connect_args(url)  # raises for a bad parameter
    # SQLAlchemy 2.0 does not decode the name of the database.
    names = [url.username or "", unquote(url.database or "")]
    names += [str(url.query.get(name, "")) for name in ("user", "dbname")]
    hosts = str(url.query.get("host", ""))
    if (
        any(":" in name for name in names)
        or any(mark in name for name in [*names[1:], hosts] for mark in "@=")
        or not _HOST.fullmatch(url.host or "")
    ):
        raise ArgumentError(MALFORMED)  # a piece of a password, which would be displayed
    if any(map(_SECRET_PARAMETER.search, url.query)):
        raise ArgumentError(
            "the database URL has a secret parameter that cannot be kept out of messages; put it "
            "into a service file (PGSERVICEFILE), and name the service in the URL"
        )
    return url


def connect_args(url: URL) -> dict[str, int | str | None]:
    """Return SQLAlchemy's option `connect_args`: further arguments for the driver's `connect`.

    By default psycopg prepares a named statement when a connection runs it for the sixth time. If a
    pooler gives each transaction another server connection (PgBouncer in transaction mode), that
    name may belong to another client's statement. So statements are not prepared unless the URL
    sets the number of runs before, as in `?prepare_threshold=5`:
    https://www.psycopg.org/psycopg3/docs/advanced/prepare.html.

    `shortsdb.settings.CONNECTION_LIMITS` limits the wait for a silent host; parameters of the URL
    take precedence.

    Raises:
        ArgumentError: The value of the parameter is not a number.
    """
    if url.get_backend_name() != "postgresql":
        return {}
    arguments: dict[str, int | str | None] = {
        name: value for name, value in CONNECTION_LIMITS.items() if name not in url.query
    }
    # Whatever PGCLIENTENCODING or a role says; a database in SQL_ASCII would give bytes.
    arguments["client_encoding"] = "utf8"
    given = url.query.get("prepare_threshold")
    if given is None:
        return {"prepare_threshold": None, **arguments}
    if not (isinstance(given, str) and re.fullmatch("[0-9]{1,9}", given)):
        raise ArgumentError(
            "prepare_threshold in the database URL is not a number; psycopg's default is 5"
        )
    return {"prepare_threshold": int(given), **arguments}


def display(url: URL) -> str:
    """Return the name of a database in messages: its file, or its URL without secrets.

    Only parameters that identify the server are shown.
    """
    if url.get_backend_name() == "sqlite" and (url.database or "").startswith("file://"):
        return unquote(str(url.database).removeprefix("file://"))
    shown = {name: text for name, text in url.query.items() if name in _SHOWN_PARAMETERS}
    hosts, ports = _listed(shown.get("host", "")), _listed(shown.get("port", ""))
    if len(hosts) <= 1 or any(host.startswith("/") for host in hosts):
        return str(file(url) or url.set(query=shown).render_as_string(hide_password=True))
    # Use libpq's form for several hosts, because `host=a%3A1&host=b%3A2` is hard to read.
    if len(ports) == len(hosts):
        hosts = [f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)]
        del shown["port"]
    del shown["host"]
    text = url.set(query=shown).render_as_string(hide_password=True)
    start, _, rest = text.partition("://")
    user, _, rest = rest.rpartition("@")
    return f"{start}://{user and f'{user}@'}{','.join(hosts)}{rest}"


def _listed(value: str | tuple[str, ...]) -> list[str]:
    return value.split(",") if isinstance(value, str) else list(value)


def in_memory(url: URL) -> bool:
    """Return whether `url` names a SQLite database that exists only in memory."""
    return url.get_backend_name() == "sqlite" and (
        url.database in {None, "", ":memory:", "file::memory:"} or url.query.get("mode") == "memory"
    )


def file(url: URL) -> Path | None:
    """Return the file of a SQLite URL; None for other databases, in memory, or a file: URI.

    If the path is a link, the result is the file that it leads to, where SQLite keeps its journal.
    """
    if url.get_backend_name() != "sqlite" or in_memory(url) or url.query.get("uri"):
        return None
    return behind_link(Path(url.database or ""))
