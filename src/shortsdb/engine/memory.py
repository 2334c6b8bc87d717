"""The pool of a database in memory: one connection, used by one thread or task at a time."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING
from weakref import ref

from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection, QueuePool
from sqlalchemy.pool.base import _ConnectionFairy

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry


class SharedConnectionPool(QueuePool):
    """A pool of one connection, which the sessions of one thread or task share.

    The database exists only in this connection, so two sessions of one thread would otherwise wait
    for each other. A session of another thread or task waits until the connection is returned.
    """

    # The thread or task that uses the connection, and the connection as checked out by it.
    _holder: object = None
    _held: ref[_ConnectionFairy] | None = None

    def connect(self) -> PoolProxiedConnection:
        """Return the connection, again if this thread or task already has it."""
        caller = _caller()
        held = self._held() if self._held is not None and self._holder == caller else None
        if held is not None:
            return held._checkout_existing()  # noqa: SLF001 - as SQLAlchemy's SingletonThreadPool
        connection = _ConnectionFairy._checkout(self)  # noqa: SLF001 - as above
        self._holder, self._held = caller, ref(connection)
        return connection

    def _return_conn(self, record: ConnectionPoolEntry) -> None:
        self._holder = self._held = None
        super()._return_conn(record)


class AsyncSharedConnectionPool(SharedConnectionPool, AsyncAdaptedQueuePool):
    """A `SharedConnectionPool` for an async engine."""


def _caller() -> object:
    """Return the running task, or the thread's id outside of tasks."""
    try:
        return asyncio.current_task() or threading.get_ident()
    except RuntimeError:  # no event loop
        return threading.get_ident()
