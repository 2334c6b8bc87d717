"""Errors raised by engines and sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError

if TYPE_CHECKING:
    from collections.abc import Sequence


class ReadOnlyError(InvalidRequestError):
    """A statement would have written through a read-only session on SQLite."""


@dataclass(frozen=True)
class StaleRow:
    """A row that another transaction has changed or deleted since it was read.

    Attributes:
        table: The table.
        primary_key: The primary key, one value per column.
        columns: The columns that differ; for a deleted row, those that would have been written.
        gone: Whether the row was deleted.
    """

    table: str
    primary_key: tuple[Any, ...]
    columns: tuple[str, ...]
    gone: bool

    def __str__(self) -> str:
        """Return one sentence that describes the change."""
        key = ", ".join(map(repr, self.primary_key))
        what = "the row was deleted" if self.gone else f"{', '.join(self.columns)} changed"
        return f"{self.table} {key}: {what} since it was read"


class StaleRowError(StaleDataError):
    """A flush would have overwritten a change that was committed after the row was read.

    Nothing was written. Roll back, read the rows again and repeat the change, or let
    `run_transaction` do that.

    Changes that the session itself made by raw or bulk SQL count too: refresh or expire the rows
    after them.

    Attributes:
        rows: The rows; empty if PostgreSQL itself refused the flush without naming one.
    """

    def __init__(self, rows: Sequence[StaleRow] = ()) -> None:
        """Compose the message from `rows`, see the attribute."""
        self.rows = tuple(rows)
        reason = "; ".join(map(str, rows)) or "another transaction has changed the same rows"
        super().__init__(
            f"{reason}. Nothing was written: roll back, read again and repeat the change"
        )


class OutcomeUnknownError(SQLAlchemyError):
    """The connection was lost during COMMIT: the transaction may or may not be committed.

    Check the database before you repeat it: a blind repetition can write everything twice.
    """
