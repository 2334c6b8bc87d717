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
    """Return a factory of sessions; what they promise stands at the top of `shortsdb.engine`.

    `factory()` gives a session that reads without a lock. `factory.begin()` gives one in an
    explicit transaction, which takes the write lock first and commits at the end of the block.

    A commit expires what was loaded, so that the next access reads it again.

    Args:
        engine: Of `create_engine`.
        read_only: Sessions that cannot write, and read one snapshot: what was committed when they
            read first. A write raises `ReadOnlyError` on SQLite, and the driver's error on
            PostgreSQL.
    """
    if read_only:
        engine = engine.execution_options(**read_only_options(engine.dialect.name))
    return sessionmaker(engine)


def async_session_factory(
    engine: AsyncEngine, *, read_only: bool = False
) -> async_sessionmaker[AsyncSession]:
    """Return a factory of sessions for asyncio; `read_only` as for `session_factory`.

    A commit expires nothing, because an attribute cannot await: what was loaded stays readable, as
    it was. `get`, `execute` and the like read rows from the database again even so, except in a
    session with autoflush off that has unsaved changes. A change that is based on an outdated value
    raises `StaleRowError`. A rollback does expire.

    A relationship that is not loaded raises MissingGreenlet on access. Load it in the query
    (`selectinload`), or by `await session.refresh(row, ["clips"])`, or work inside
    `session.run_sync`.
    """
    from sqlalchemy.ext import asyncio  # noqa: PLC0415 - as above

    if read_only:
        engine = engine.execution_options(**read_only_options(engine.dialect.name))
    return asyncio.async_sessionmaker(
        engine,
        expire_on_commit=False,
        sync_session_class=_RereadingSession,
    )


class _RereadingSession(Session):
    """A session that reads rows again although no commit expired them.

    Else `get` would answer from the session what another process has changed meanwhile, and an
    update computed from that would be lost.
    """

    def get(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - Session's signature
        """Return the row of a primary key as it is in the database, see `Session.get`."""
        if _may_reread(self):
            options["populate_existing"] = True
        return super().get(*args, **options)


def _may_reread(session: Session) -> bool:
    """Return whether unsaved changes are flushed first, or there is none to be overwritten."""
    return session.autoflush or not (session.dirty or session.deleted)


@event.listens_for(_RereadingSession, "do_orm_execute")
def _reread(state: ORMExecuteState) -> None:
    if not in_greenlet():
        # Here and not in the driver, which would leave a coroutine that nobody awaits.
        raise MissingGreenlet(
            "this attribute is not loaded, and an attribute cannot await: load it in the query, by "
            "session.refresh, or inside session.run_sync"
        )
    of_rows = state.is_select and not state.is_column_load and not state.is_relationship_load
    if of_rows and _may_reread(state.session):
        state.update_execution_options(populate_existing=True)
