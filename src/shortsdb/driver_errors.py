"""Explain errors of database drivers to operators: one message that says what to do."""

from __future__ import annotations

import re

from shortsdb.printable import one_line
from shortsdb.settings import lock_timeout, statement_timeout

# If the disk fails or fills up at the very end of a COMMIT, SQLite may report one of these errors
# although the transaction is committed.
UNCERTAIN = ("SQLITE_IOERR", "SQLITE_FULL")

# By the name of SQLite's result code, https://sqlite.org/rescode.html, as sqlite3 gives it, or by
# PostgreSQL's SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html.
_MEANINGS = {
    "SQLITE_BUSY": (
        "is locked by another process for longer than {timeout:g} s (SHORTSDB_LOCK_TIMEOUT); "
        "find out which process holds it, or try again when it is idle"
    ),
    "SQLITE_NOTADB": (
        "is not an SQLite database, or it is encrypted; check that this is the right file"
    ),
    "SQLITE_CORRUPT": (
        "is damaged ({error}); restore the last backup, or salvage what is left with the sqlite3 "
        "program's .recover"
    ),
    "SQLITE_READONLY": "cannot be written ({error}): the file or its file system is read-only",
    "SQLITE_FULL": "does not fit its file system any more; free some space and try again",
    "SQLITE_CANTOPEN": "cannot be opened ({error})",
    "SQLITE_IOERR_SHMSIZE": (
        "cannot be opened ({error}, {code}): its file system is full, and WAL mode needs a -shm "
        "beside it; free some space and try again"
    ),
    "SQLITE_IOERR": "could not be read or written ({error}, {code}); check the disk",
    "55P03": (
        "is locked by another session for longer than SHORTSDB_LOCK_TIMEOUT allows{at}; "
        "find that session in pg_stat_activity, and try again when it has ended"
    ),
    "57014": (
        "cancelled a statement ({error}){at}; SHORTSDB_STATEMENT_TIMEOUT limits the duration of "
        "one, and is {statement_timeout:g} s now"
    ),
    "57P": "ended the connection ({error}){at}; try again when the server is up",
    "25006": (
        "is read-only ({error}): a standby, or default_transaction_read_only is on; use the primary"
    ),
}

# psycopg lists the error of each host on a separate line, after the error of the last host.
_ATTEMPT = re.compile(
    r"^- host: '(?P<host>[^']*)', port: '(?P<port>[^']*)', .*: (?P<why>.*)$", re.MULTILINE
)


def explain(error: BaseException, name: str) -> str:
    """Return an explanation of a driver's error for the operator, in one line.

    Args:
        error: The driver's error, or SQLAlchemy's wrapper.
        name: The name of the database in messages.
    """
    cause, code = _cause(error)
    attempts = [
        f"{found['host']}{found['port'] and ':'}{found['port']}: {found['why']}"
        for found in _ATTEMPT.finditer(str(cause))
    ]
    text = f"no host could be used ({'; '.join(attempts)})" if attempts else one_line(cause)
    statement = getattr(error, "statement", None)
    at = f" (at: {statement.strip().splitlines()[0]})" if statement else ""
    for prefix, meaning in _MEANINGS.items():
        if code.startswith(prefix):
            explained = meaning.format(
                error=text,
                code=code,
                at=at,
                timeout=lock_timeout(),
                statement_timeout=statement_timeout(),
            )
            return f"{name} {explained}"
    return f"{name}: {text}{at}"


def left_behind(error: BaseException, done: str) -> str:
    """Return a clause about the state of the database after an error of the driver.

    Args:
        error: The driver's error, or SQLAlchemy's wrapper.
        done: The participle of the operation, as in "nothing was changed".
    """
    # SQLAlchemy's error has no statement in a COMMIT, and does not invalidate while connecting.
    lost_in_commit = getattr(error, "connection_invalidated", False) and (
        getattr(error, "statement", None) is None
    )
    if lost_in_commit or _cause(error)[1].startswith(UNCERTAIN):
        return f"it is either as it was or fully {done}: fix the cause, then run the command again"
    return f"nothing was {done}"


def _cause(error: BaseException) -> tuple[BaseException, str]:
    """Return the driver's own error, with the name of SQLite's result code or the SQLSTATE."""
    # `orig` is an attribute of SQLAlchemy's errors, which are not imported here.
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return cause, code or ""
