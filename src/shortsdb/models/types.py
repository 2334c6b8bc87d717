"""Column types and the Annotated column shapes that models repeat."""

from datetime import UTC, date, datetime, time
from typing import Annotated

from sqlalchemy import DateTime, Dialect, ForeignKey, Text, func, text
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeDecorator


def utcnow() -> datetime:
    """Return the present in UTC without tzinfo, as all models hold time."""
    return datetime.now(UTC).replace(tzinfo=None)


def as_utc(moment: date) -> datetime:
    """Return a moment as all models hold it: UTC without tzinfo.

    An aware datetime is converted, a naive one is UTC already, and a date is its midnight in UTC.
    """
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time.min)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


class UTCDateTime(TypeDecorator[datetime]):
    """A moment in UTC: naive in Python, the text of DateTime in SQLite, timestamptz in PostgreSQL.

    Takes an aware datetime of any offset and converts it, takes a naive one as UTC and a date as
    its midnight in UTC, and returns naive UTC. Plain DateTime drops the offset of an aware datetime
    on SQLite without a word.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: date | None, dialect: Dialect) -> datetime | None:
        """Return `value` in UTC, aware where the database keeps an offset."""
        if value is None:
            return None
        value = as_utc(value)
        # PostgreSQL would read a naive timestamp in the session's time zone.
        return value if dialect.name == "sqlite" else value.replace(tzinfo=UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - TypeDecorator's signature
        """Return `value` as naive UTC; raw SQL may have stored an offset even on SQLite."""
        return None if value is None else as_utc(value)


# The server defaults make the Python defaults hold for raw SQL too. SQLite's CURRENT_TIMESTAMP has
# whole seconds, which DateTime reads.
PrimaryKey = Annotated[int, mapped_column(primary_key=True)]
"""The number of the row, given by the database."""
RunId = Annotated[int, mapped_column(ForeignKey("pipeline_runs.id"), index=True)]
"""The run that the row belongs to."""
LongText = Annotated[str, mapped_column(Text)]
"""Text of any length."""
Timestamp = Annotated[datetime, mapped_column(UTCDateTime)]
"""A moment, see `UTCDateTime`."""
CreatedAt = Annotated[
    datetime, mapped_column(UTCDateTime, default=utcnow, server_default=func.current_timestamp())
]
"""A moment that is the present where none is given."""
Flag = Annotated[int, mapped_column(default=0, server_default=text("0"))]
"""Meant to be 0 or 1; 0 where nothing is given."""
