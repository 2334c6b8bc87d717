"""The pool of a database in memory: one connection, which threads and tasks take turns on."""

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

    Two sessions of one thread would otherwise wait for each other, because only this connection
    sees the database. A session of another thread or task waits until it is returned.
    """

    # The present user of the connection, and the connection as that user has it.
    _holder: object = None
    _held: ref[_ConnectionFairy] | None = None

    def connect(self) -> PoolProxiedConnection:
        """Return the connection, once more if this thread or task has it already."""
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
    """The same for an async engine."""


def _caller() -> object:
    """Return the running task, or the thread if it has none."""
    try:
        return asyncio.current_task() or threading.get_ident()
    except RuntimeError:  # no event loop
        return threading.get_ident()
