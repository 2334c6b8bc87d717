"""Run transactions, and repeat them after a conflict or a lost connection."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm.exc import StaleDataError

from shortsdb.engine.transactions import CONFLICT_STATES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
    from sqlalchemy.orm import Session, sessionmaker

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0


def run_transaction(
    factory: sessionmaker[Session], work: Callable[[Session], T], *, attempts: int = 5
) -> T:
    """Run `work(session)` in an explicit transaction, commit it and return the result of `work`.

    `work` runs again, with a new session, after a conflict (`StaleRowError`), a serialization
    failure, a deadlock, or a connection that was lost before the COMMIT or could not be made. Its
    effects outside the database must therefore be safe to repeat. The pause between attempts has a
    random length of up to 2 s: to outlast the failover of a PostgreSQL cluster, which takes half a
    minute, allow about 60 attempts. Rows that `work` returns are detached: return values instead.

    Args:
        factory: A factory returned by `session_factory`.
        work: The function to run. It must not commit or roll back.
        attempts: The highest number of runs.

    Raises:
        OutcomeUnknownError: The connection was lost during COMMIT. This is never repeated.
        ValueError: `attempts` is less than 1.
        Exception: Any other error of `work`, or the error of the last attempt.
    """
    _require_attempts(attempts)
    for attempt in range(1, attempts):
        try:
            with factory.begin() as session:
                return work(session)
        except (StaleDataError, DBAPIError) as error:
            if not _may_be_repeated(error):
                raise
        time.sleep(_pause_seconds(attempt))
    with factory.begin() as session:
        return work(session)


async def run_transaction_async(
    factory: async_sessionmaker[AsyncSession],
    work: Callable[[AsyncSession], Awaitable[T]],
    *,
    attempts: int = 5,
) -> T:
    """Await `work(session)` in an explicit transaction; see `run_transaction`."""
    _require_attempts(attempts)
    for attempt in range(1, attempts):
        try:
            async with factory.begin() as session:
                return await work(session)
        except (StaleDataError, DBAPIError) as error:
            if not _may_be_repeated(error):
                raise
        await asyncio.sleep(_pause_seconds(attempt))
    async with factory.begin() as session:
        return await work(session)


def _require_attempts(attempts: int) -> None:
    if attempts < 1:
        raise ValueError(f"attempts is {attempts}: it must be at least 1")


def _may_be_repeated(error: StaleDataError | DBAPIError) -> bool:
    if isinstance(error, StaleDataError):
        return True
    if getattr(error.orig, "sqlstate", None) in CONFLICT_STATES:
        return True
    if error.connection_invalidated:
        # Without a statement it is of a COMMIT: other engines do not raise OutcomeUnknownError.
        return error.statement is not None
    # psycopg raises this if it cannot connect: the server is starting, or failing over.
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", "") is None


def _pause_seconds(attempt: int) -> float:
    longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
    return random.uniform(0, longest)  # noqa: S311 - jitter, not a secret
