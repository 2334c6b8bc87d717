"""Column types, and Annotated columns that several models share."""

from datetime import UTC, date, datetime, time
from typing import Annotated

from sqlalchemy import DateTime, Dialect, ForeignKey, Text, func, text
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeDecorator


def utcnow() -> datetime:
    """Return the current time in UTC without tzinfo, as in all models."""
    return datetime.now(UTC).replace(tzinfo=None)


def as_utc(moment: date) -> datetime:
    """Return a time in UTC without tzinfo, as in all models.

    An aware datetime is converted, a naive one is taken as UTC, and a date as its midnight in UTC.
    """
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time.min)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


class UTCDateTime(TypeDecorator[datetime]):
    """A time in UTC: naive in Python, DateTime's text in SQLite, timestamptz in PostgreSQL.

    Accepts an aware datetime, which is converted, a naive one, which is taken as UTC, and a date,
    which is taken as its midnight in UTC. Returns naive UTC. On SQLite plain DateTime would
    silently drop the offset of an aware datetime.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: date | None, dialect: Dialect) -> datetime | None:
        """Return `value` in UTC, naive for SQLite and aware for PostgreSQL."""
        if value is None:
            return None
        value = as_utc(value)
        # PostgreSQL would interpret a naive timestamp in the session's time zone.
        return value if dialect.name == "sqlite" else value.replace(tzinfo=UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - TypeDecorator's signature
        """Return `value` as naive UTC; raw SQL may have stored an offset even on SQLite."""
        return None if value is None else as_utc(value)


# The server defaults repeat the Python defaults for raw SQL. SQLite's CURRENT_TIMESTAMP has whole
# seconds, which DateTime can read.
PrimaryKey = Annotated[int, mapped_column(primary_key=True)]
"""The id of the row, assigned by the database."""
RunId = Annotated[int, mapped_column(ForeignKey("pipeline_runs.id"), index=True)]
"""The run that the row belongs to."""
LongText = Annotated[str, mapped_column(Text)]
"""Text of any length."""
Timestamp = Annotated[datetime, mapped_column(UTCDateTime)]
"""A time, see `UTCDateTime`."""
CreatedAt = Annotated[
    datetime, mapped_column(UTCDateTime, default=utcnow, server_default=func.current_timestamp())
]
"""A time; the default is the current time."""
Flag = Annotated[int, mapped_column(default=0, server_default=text("0"))]
"""0 or 1 by convention; the default is 0."""
