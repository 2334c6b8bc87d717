"""Errors of drivers are explained in one line, with the state of the database after them."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from shortsdb.driver_errors import explain, left_behind

HOSTS = """connection failed: refused
Multiple connection attempts failed. All failures were:
- host: 'a', port: '1', hostaddr: '::1': refused
- host: '/run/pg', port: '', hostaddr: None: no
  such file"""


class ServerError(Exception):
    """An error as psycopg raises it."""

    sqlstate: str | None = None


def _of_sqlite(name: str | None) -> sqlite3.Error:
    error = sqlite3.OperationalError("it\n failed")
    if name:
        error.sqlite_errorname = name
    return error


def _of_server(state: str | None, text: str = "it\n failed") -> ServerError:
    error = ServerError(text)
    error.sqlstate = state
    return error


@pytest.mark.parametrize(
    ("error", "explained"),
    [
        (_of_sqlite("SQLITE_BUSY_SNAPSHOT"), "x.db is locked by another process for longer than 7"),
        (_of_sqlite("SQLITE_NOTADB"), "x.db is not an SQLite database, or it is encrypted"),
        (_of_sqlite("SQLITE_CORRUPT_INDEX"), "x.db is damaged (it failed); restore the last"),
        (_of_sqlite("SQLITE_READONLY"), "x.db cannot be written (it failed): the file"),
        (_of_sqlite("SQLITE_FULL"), "x.db does not fit its file system any more"),
        (_of_sqlite("SQLITE_CANTOPEN"), "x.db cannot be opened (it failed)"),
        (_of_sqlite("SQLITE_IOERR_SHMSIZE"), "x.db cannot be opened (it failed, SQLITE_IOERR_SHM"),
        (_of_sqlite("SQLITE_IOERR_WRITE"), "x.db could not be read or written (it failed, SQLITE_"),
        (_of_sqlite("SQLITE_ERROR"), "x.db: it failed"),
        (_of_sqlite(None), "x.db: it failed"),
        (_of_server("55P03"), "x.db is locked by another session for longer than SHORTSDB_LOCK_"),
        (_of_server("57014"), "x.db cancelled a statement (it failed); SHORTSDB_STATEMENT_TIMEOUT"),
        (_of_server("57P01"), "x.db ended the connection (it failed); try again"),
        (_of_server("25006"), "x.db is read-only (it failed): a standby"),
        (_of_server("57000"), "x.db: it failed"),
        (_of_server(None, HOSTS), "x.db: no host could be used (a:1: refused; /run/pg: no)"),
    ],
)
def test_an_error_is_explained(
    monkeypatch: pytest.MonkeyPatch, error: Exception, explained: str
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "7")
    assert explain(error, "x.db").startswith(explained)
    assert "\n" not in explain(error, "x.db")


def test_the_statement_is_named() -> None:
    error = OperationalError("\nSELECT 1\nFROM a", None, _of_server("55P03"))
    assert "allows (at: SELECT 1); find" in explain(error, "x.db")
    error = OperationalError("SELECT 1", None, _of_server(None))
    assert explain(error, "x.db") == "x.db: it failed (at: SELECT 1)"


@pytest.mark.parametrize(
    ("error", "uncertain"),
    [
        (_of_sqlite("SQLITE_FULL"), True),
        (_of_sqlite("SQLITE_IOERR_FSYNC"), True),
        (_of_sqlite("SQLITE_BUSY"), False),
        (OperationalError(None, None, _of_sqlite("SQLITE_IOERR")), True),
        (
            OperationalError("SELECT 1", None, _of_server("57P01"), connection_invalidated=True),
            False,
        ),
        (OperationalError(None, None, _of_server("57P01"), connection_invalidated=True), True),
        (OperationalError(None, None, _of_server("57P01")), False),
    ],
)
def test_what_an_error_leaves_behind(error: Any, uncertain: bool) -> None:  # noqa: ANN401, FBT001 - of any driver
    expected = "either as it was or fully upgraded" if uncertain else "nothing was upgraded"
    assert expected in left_behind(error, "upgraded")
