"""Every environment variable that shortsdb reads, and its default."""

from __future__ import annotations

import math
import os
import re
from datetime import timedelta

from shortsdb.errors import OperationRefused

DEFAULT_URL = "sqlite:///shortsdb.db"
"""The default database: a file in the current folder."""

URL = "SHORTSDB_URL"
BACKUP = "SHORTSDB_BACKUP"
SCHEMA = "SHORTSDB_SCHEMA"
BACKUP_KEEP = "SHORTSDB_BACKUP_KEEP"
BACKUPS_KEPT = 5
MUST_EXIST = "SHORTSDB_MUST_EXIST"
CONSOLE_PASSWORD = "SHORTSDB_CONSOLE_PASSWORD"  # noqa: S105 - the name of the variable

_ANSWERS = {"1": True, "yes": True, "true": True, "0": False, "no": False, "false": False}

# The names are libpq's, see https://www.postgresql.org/docs/current/libpq-connect.html.
CONNECTION_LIMITS = {
    "connect_timeout": 10,
    "tcp_user_timeout": 20_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""Limits on how long a connection to PostgreSQL waits for a host that does not answer.

They are the seconds for connecting to each host, the milliseconds for acknowledging sent data, and
the seconds of silence before keepalive probes, the interval of the probes and their number. The
default of the kernel is a quarter of an hour.
"""

# On PostgreSQL a migration that waits for a table's lock blocks all later queries of the table.
_TABLE_LOCK_SECONDS = 5.0


def database_url() -> str | None:
    """Return SHORTSDB_URL, the database by URL or path; None means `DEFAULT_URL`."""
    return os.environ.get(URL) or None


def schema() -> str | None:
    """Return SHORTSDB_SCHEMA, the schema of a PostgreSQL database; None for the search_path's."""
    return os.environ.get(SCHEMA) or None


def backup() -> str | None:
    """Return SHORTSDB_BACKUP, the folder of backups, see `sqlite.backup_files.folder_for`."""
    return os.environ.get(BACKUP) or None


def backup_keep() -> int | timedelta:
    """Return how many of the newest backups are kept, or how old they may get.

    SHORTSDB_BACKUP_KEEP, a number or as many days as `30d`; or `BACKUPS_KEPT`.

    Raises:
        OperationRefused: The variable holds neither.
    """
    given = os.environ.get(BACKUP_KEEP) or str(BACKUPS_KEPT)
    match = re.fullmatch(r"([1-9]\d{0,4})(d?)", given)
    if match is None:
        raise OperationRefused(
            f"{BACKUP_KEEP} is {given!r}, neither a number of backups nor of days, such as 30d"
        )
    number = int(match[1])
    return timedelta(days=number) if match[2] else number


def must_exist(given: str | bool | None = None) -> bool:  # noqa: FBT001 - an option's value
    """Return whether an upgrade refuses to create a database.

    Args:
        given: What the command was told, None for nothing: then SHORTSDB_MUST_EXIST counts.

    Raises:
        OperationRefused: The answer is neither yes nor no.
    """
    if isinstance(given, bool):
        return given
    answer = (os.environ.get(MUST_EXIST) or "no") if given is None else given
    if answer.lower() not in _ANSWERS:
        raise OperationRefused(f"must-exist ({MUST_EXIST}) is {answer!r}, neither yes nor no")
    return _ANSWERS[answer.lower()]


def console_password() -> str | None:
    """Return SHORTSDB_CONSOLE_PASSWORD, which a login of the console needs; None for no login.

    Raises:
        OperationRefused: The variable holds bytes that no browser sends.
    """
    password = os.environ.get(CONSOLE_PASSWORD) or None
    if password is not None and password.encode(errors="ignore").decode() != password:
        raise OperationRefused(f"{CONSOLE_PASSWORD} is not valid UTF-8, so no login can match it")
    return password


def log_format() -> str:
    """Return SHORTSDB_LOG; with `json`, programs log each record as a line of JSON."""
    return os.environ.get("SHORTSDB_LOG", "")


def correlation_id() -> str | None:
    """Return SHORTSDB_CORRELATION_ID, the id on all log records; None generates one."""
    return os.environ.get("SHORTSDB_CORRELATION_ID") or None


def lock_timeout(default: float = 60.0) -> float:
    """Return how many seconds to wait for a lock: SHORTSDB_LOCK_TIMEOUT, or `default`.

    Raises:
        OperationRefused: The value of the variable is not a number of seconds.
    """
    return _seconds("SHORTSDB_LOCK_TIMEOUT", default)


def table_lock_timeout() -> float:
    """Return how many seconds to wait for a table's lock on PostgreSQL, see `lock_timeout`."""
    return lock_timeout(_TABLE_LOCK_SECONDS)


def statement_timeout() -> float:
    """Return SHORTSDB_STATEMENT_TIMEOUT or 300, the limit on PostgreSQL in seconds; 0 is no limit.

    Raises:
        OperationRefused: The value of the variable is not a number of seconds.
    """
    return _seconds("SHORTSDB_STATEMENT_TIMEOUT", 300.0)


def _seconds(variable: str, default: float) -> float:
    given = os.environ.get(variable)
    if not given:
        return default
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    # SQLite and PostgreSQL count milliseconds in 32 bits.
    if not 0 <= seconds <= 2**31 / 1000 - 1:
        raise OperationRefused(f"{variable} is {given!r}, not a number of seconds")
    return seconds
