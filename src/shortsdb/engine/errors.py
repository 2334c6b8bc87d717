"""The errors that engines and sessions raise of their own."""

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
        table: Its table.
        primary_key: Its primary key, one value per column.
        columns: The columns that differ; of a row that is gone, those that would have changed.
        gone: Whether the row was deleted.
    """

    table: str
    primary_key: tuple[Any, ...]
    columns: tuple[str, ...]
    gone: bool = False

    def __str__(self) -> str:
        """Say what happened to the row."""
        key = ", ".join(map(repr, self.primary_key))
        what = "the row was deleted" if self.gone else f"{', '.join(self.columns)} changed"
        return f"{self.table} {key}: {what} since it was read"


class StaleRowError(StaleDataError):
    """A flush would have overwritten what another transaction has committed since it was read.

    Nothing was written. Roll back, read the rows again and repeat the change, or let
    `run_transaction` do that.

    SQL that the session itself has run past its objects counts as such a change: refresh or expire
    the rows after it.

    Attributes:
        rows: The rows; empty if PostgreSQL itself refused the flush and named none.
    """

    def __init__(self, rows: Sequence[StaleRow] = ()) -> None:
        """Compose the message.

        Args:
            rows: See the attribute.
        """
        self.rows = tuple(rows)
        reason = "; ".join(map(str, rows)) or "another transaction has changed the same rows"
        super().__init__(
            f"{reason}. Nothing was written: roll back, read again and repeat the change"
        )


class OutcomeUnknownError(SQLAlchemyError):
    """The connection was lost during COMMIT: the transaction may or may not be committed.

    Look into the database before you repeat it: a blind repetition can write everything twice.
    """
