"""The protocol of SQLite connections in this package, which an application may hand in.

sqlite3's connections satisfy it, and so do SQLAlchemy's DBAPI connections of every driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cursor(Protocol):
    """A cursor as in PEP 249."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any:  # noqa: ANN401 - PEP 249 leaves it open
        """Run a statement."""

    def fetchall(self) -> Sequence[Any]:
        """Return the rows of the statement."""

    def close(self) -> None:
        """Close the cursor."""


class Connection(Protocol):
    """A connection as in PEP 249."""

    def cursor(self) -> Cursor:
        """Return a new cursor."""


def rows(connection: Connection, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql, parameters)
        return [tuple(row) for row in cursor.fetchall()]
    finally:
        cursor.close()


def values(connection: Connection, sql: str, *parameters: object) -> list[Any]:
    """Return the first column of the rows of a statement."""
    return [row[0] for row in rows(connection, sql, *parameters)]
