"""Fork safety: an engine that was used before a fork works in the parent and in the child.

A forked child shares the parent's database connections and must not use them. The child gets a new
pool. The handling of the connections depends on the database:

SQLite file: The parent closes idle connections before it forks. Both processes open new ones when
they need them. If a connection is in use at that moment (by a session, or by a thread in a query),
the child cannot use that file, under any of its names. SQLite keeps its table of locks in process
memory (`unixInodeInfo` in os_unix.c). The child inherits that table and assumes locks that only the
parent holds, and the next process that closes the file deletes its -wal. The child's first use of
the file raises `InUseAtForkError`, also in its own children; the parent is not affected.

SQLite in memory: The child has a copy, provided that no other thread was using the database.

PostgreSQL: The child replaces its descriptors of the parent's sockets. A connection that was in use
fails in the child as if the server had closed it; new connections work.

`subprocess` and multiprocessing's "spawn" start a new program and are not affected: Python runs the
hooks for `os.fork` and `os.forkpty`, and for `subprocess` only with `preexec_fn`. Forks by C code
that bypass Python are not covered, nor are SQLite connections that shortsdb's engines did not open
(by `creator`, `sqlite3.connect` or ATTACH).
"""

from __future__ import annotations

import ctypes
import os
import socket
import sqlite3
import threading
from contextlib import suppress
from functools import cache, partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit
from weakref import WeakSet, ref

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError, DontWrapMixin, InvalidRequestError

from shortsdb import url as urls
from shortsdb.log import get_logger
from shortsdb.sqlite.files import identity_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

log = get_logger(__name__)

# Held during a fork, so that no connection is opened, taken from a pool or returned to one.
# It is reentrant because a signal handler may use the database while the main thread holds it.
_lock = threading.RLock()
_engines: WeakSet[Engine] = WeakSet()
# The open connections to SQLite files, to PostgreSQL, and those of aiosqlite.
_open: WeakSet[_Connection] = WeakSet()
_sockets: WeakSet[Any] = WeakSet()
_threaded: WeakSet[Any] = WeakSet()
# The device and inode of each SQLite file that this process must not use.
_unsafe: set[tuple[int, int] | None] = set()
# References that keep inherited connections from being closed in a child.
_inherited: list[Any] = []


class InUseAtForkError(DontWrapMixin, InvalidRequestError):
    """A connection to this SQLite file was in use when the process was forked."""


def guard_forks(engine: Engine) -> None:
    """Make `engine` safe to use in both processes after a fork; see the module.

    Call it before other listeners are added, so that their work counts as a connection's set-up.
    """
    _engines.add(engine)
    if engine.dialect.name != "sqlite":
        event.listen(engine, "connect", _register_socket)
        return
    sqlite_connection = _behind_aiosqlite if engine.dialect.is_async else _itself

    def do_connect(_dialect: object, _record: object, _args: object, options: Any) -> None:  # noqa: ANN401 - SQLAlchemy's own
        options["factory"] = _counted(options.get("factory", sqlite3.Connection))

    def checkout(connection: DBAPIConnection, _record: object, _proxy: object) -> None:
        counted = sqlite_connection(connection)
        with _lock:
            if counted is None or not counted.usable:
                raise DisconnectionError("the connection was closed before a fork")
            counted.users = (counted.users or 0) + 1

    def checkin(connection: DBAPIConnection | None, _record: object) -> None:
        # None means invalidated: the connection counts as in use until it is closed.
        counted = None if connection is None else sqlite_connection(connection)
        with _lock:
            if counted is not None and counted.users:
                counted.users -= 1

    event.listen(engine, "do_connect", do_connect)
    if engine.dialect.is_async:
        event.listen(engine, "connect", _register_thread)
    event.listen(engine, "checkout", checkout)
    event.listen(engine, "checkin", checkin)


class _Connection(sqlite3.Connection):
    """A SQLite connection that is in `_open` while it is open."""

    users: int | None = None
    """The number of checkouts from the pool not yet returned; None during set-up."""
    aiosqlite: Callable[[], Any] = staticmethod(lambda: None)
    """Return aiosqlite's connection around this one, if there is one."""
    usable: bool
    """Whether the connection is open."""

    def __init__(self, database: str | os.PathLike[str], *args: Any, **options: Any) -> None:  # noqa: ANN401 - sqlite3's own
        self.path = _path(os.fspath(database))
        with _lock:
            # Do not call SQLite: another thread may have held one of its mutexes at the fork.
            if _unsafe and identity_of(self.path) in _unsafe:
                _refuse(self.path)
            super().__init__(database, *args, **options)
            self.file = identity_of(self.path)
            if self.file is not None:
                _open.add(self)
            self.usable = True

    def close(self) -> None:
        super().close()
        self.usable = False
        with _lock:
            _open.discard(self)


@cache
def _counted(factory: type[sqlite3.Connection]) -> type[_Connection]:
    """Return a subclass of `factory`, which the application may have chosen, and `_Connection`."""
    return type(factory.__name__, (_Connection, factory), {})


def _path(database: str) -> str:
    """Return the absolute path of the database passed to sqlite3, or "" if it has no file.

    For URI names see https://sqlite.org/uri.html. Paths that are not URIs are absolute here.
    """
    if database.startswith("file:"):
        parts = urlsplit(database)
        database = ":memory:" if "memory" in parse_qs(parts.query).get("mode", []) else parts.path
        database = unquote(database)
    return "" if database in {"", ":memory:"} else os.path.abspath(database)  # noqa: PTH100 - resolves no link


def _itself(connection: Any) -> _Connection:  # noqa: ANN401 - a driver's
    return connection  # type: ignore[no-any-return]


def _behind_aiosqlite(connection: Any) -> _Connection | None:  # noqa: ANN401 - a driver's
    return connection.driver_connection._connection  # type: ignore[no-any-return]  # noqa: SLF001 - it has no public name


def _register_thread(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    wrapper: Any = record.driver_connection
    _threaded.add(wrapper)
    counted = _behind_aiosqlite(connection)
    if counted is not None:
        counted.aiosqlite = ref(wrapper)


def _register_socket(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    _sockets.add(record.driver_connection)


def _before_fork() -> None:
    _lock.acquire()
    for connection in list(_open):
        if connection.users == 0:
            _close(connection)


def _close(connection: _Connection) -> None:
    try:
        connection.close()
    except sqlite3.Error as error:
        log.warning(
            "an idle connection to %s could not be closed before a fork (%s): the child process "
            "will refuse to use the file",
            connection.path,
            error,
        )
    else:
        if (wrapper := connection.aiosqlite()) is not None:
            # Mark the connection as closed for aiosqlite too: its close() would hand the work to a
            # thread that the child does not have. In the parent that thread ends here.
            wrapper._connection = None  # noqa: SLF001 - close() is a coroutine, and there may be no loop
            wrapper._tx.put_nowait((None, wrapper.stop))  # noqa: SLF001 - stop() must run in that thread


def _after_in_parent() -> None:
    _lock.release()


def _after_in_child() -> None:
    _lock.release()
    # Connections that are still open are in use.
    for connection in list(_open):
        _abandon(connection)
    _open.clear()
    for wrapper in _threaded:
        wrapper._tx = _NoThread()  # noqa: SLF001 - aiosqlite's queue of work for its thread
    _cut_off(_sockets)
    for engine in _engines:
        # A database in memory exists only in its connection, so the pool keeps that.
        if not urls.in_memory(engine.url):
            # Another thread may have held the lock of the pool, and the child cannot release it. So
            # make a new pool, and return no connection to the old one.
            vars(engine.pool)["_do_return_conn"] = _nothing
            engine.dispose(close=False)


def _abandon(connection: _Connection) -> None:
    """Prevent this process from using or closing a connection that its parent uses.

    Rolling back or closing would roll back the parent's transaction in the file.
    """
    _unsafe.add(connection.file)
    connection.usable = False
    # An extra reference prevents closing at exit. A list would not: the interpreter clears it.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    refused = ("cursor", "execute", "executemany", "executescript", "commit", "blobopen", "backup")
    vars(connection).update(dict.fromkeys(refused, partial(_refuse, connection.path)))
    # The child may end a session that it inherited without an error.
    vars(connection).update(rollback=_nothing, close=_nothing)


def _refuse(path: str, *_: object, **__: object) -> NoReturn:
    raise InUseAtForkError(
        f"{path} was in use when this process was forked, so this process must not use it: close "
        "sessions and connections before the fork, or start the process with multiprocessing's "
        "spawn method"
    )


def _nothing(*_: object) -> None:
    """Do nothing."""


async def _nothing_async(*_: object) -> None:
    """Do nothing."""


class _NoThread:
    """Replaces the queue of an aiosqlite connection, whose thread does not exist in the child.

    It does the work at once, because waiting for that thread would never end.
    """

    def put_nowait(self, work: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, function = work
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - raised in the task that awaits it
            if future is not None:
                future.set_exception(error)
        else:
            if future is not None:
                future.set_result(result)


def _cut_off(connections: WeakSet[Any]) -> None:
    """Disconnect these connections from the server, where the sessions belong to the parent.

    Neither queries nor the message that ends a session reach the server: it seems to be gone.
    """
    # Keep the connections, because a driver warns when an open one is deleted.
    _inherited.extend(connections)
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        for connection in connections:
            # A closed connection has no descriptor.
            with suppress(Exception):
                os.dup2(ours.fileno(), connection.fileno(), inheritable=False)
            # The child may end a session that it inherited without an error.
            nothing = _nothing_async if iscoroutinefunction(connection.close) else _nothing
            vars(connection).update(rollback=nothing, close=nothing)


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
