"""Session factories, sync and async."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.util.concurrency import in_greenlet

import shortsdb.engine.conflicts  # noqa: F401 - its listeners compare before a flush
from shortsdb.engine.transactions import read_only_options

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
    from sqlalchemy.orm import ORMExecuteState


def session_factory(engine: Engine, *, read_only: bool = False) -> sessionmaker[Session]:
    """Return a factory of sessions with the guarantees listed in `shortsdb.engine`.

    `factory()` returns a session that reads without a lock. `factory.begin()` returns one in an
    explicit transaction, which takes the write lock first and commits at the end of the block.

    A commit expires loaded objects, so that the next access reads them again.

    Args:
        engine: An engine returned by `create_engine`.
        read_only: Whether the sessions cannot write and read one snapshot, taken at the first read.
            A write raises `ReadOnlyError` on SQLite, and the driver's error on PostgreSQL.
    """
    if read_only:
        engine = engine.execution_options(**read_only_options(engine.dialect.name))
    return sessionmaker(engine)


def async_session_factory(
    engine: AsyncEngine, *, read_only: bool = False
) -> async_sessionmaker[AsyncSession]:
    """Return a factory of sessions for asyncio; `read_only` as for `session_factory`.

    A commit expires nothing, because attribute access cannot await: objects keep the values that
    were loaded. Queries such as `get` and `execute` still read rows again, except in a session with
    autoflush off and unsaved changes. A change based on an outdated value raises `StaleRowError`.
    A rollback expires objects as usual.

    Access to a relationship that is not loaded raises MissingGreenlet. Load it in the query
    (`selectinload`) or with `await session.refresh(row, ["clips"])`, or work inside
    `session.run_sync`.
    """
    from sqlalchemy.ext import asyncio  # noqa: PLC0415 - needs greenlet, which is in an extra

    if read_only:
        engine = engine.execution_options(**read_only_options(engine.dialect.name))
    return asyncio.async_sessionmaker(
        engine,
        expire_on_commit=False,
        sync_session_class=_RereadingSession,
    )


class _RereadingSession(Session):
    """A session whose queries refresh objects that a commit has not expired.

    Otherwise `get` could return a value that another process has changed since, and an update
    computed from it would be stale.
    """

    def get(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - Session's signature
        """Return the row with a primary key as stored in the database, see `Session.get`."""
        if _may_reread(self):
            options["populate_existing"] = True
        return super().get(*args, **options)


def _may_reread(session: Session) -> bool:
    """Return whether reading again overwrites no unsaved change."""
    return session.autoflush or not (session.dirty or session.deleted)


@event.listens_for(_RereadingSession, "do_orm_execute")
def _reread(state: ORMExecuteState) -> None:
    if not in_greenlet():
        # Raised here, because the driver would leave a coroutine that is never awaited.
        raise MissingGreenlet(
            "this attribute is not loaded, and attribute access cannot await: load it in the "
            "query, with session.refresh, or inside session.run_sync"
        )
    of_rows = state.is_select and not state.is_column_load and not state.is_relationship_load
    if of_rows and _may_reread(state.session):
        state.update_execution_options(populate_existing=True)
