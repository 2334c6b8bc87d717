"""Fork safety: an engine that was used before a fork works in the parent and in the child.

A forked child shares the parent's database connections and must use none of them. So it gets a new
pool, and what happens to the connections depends on the database:

SQLite file: Connections that are idle when the process forks are closed first, in the parent. Both
processes open new ones when they need them. If a connection is in use at that moment (a session
that holds one, a thread in a query), the child cannot use that file, under any of its names:
SQLite's table of locks is process memory (`unixInodeInfo` in its source, os_unix.c). The child
inherits it, believes that it holds locks which only the parent holds, and the next process that
closes the file deletes its -wal. The child's first use of the file raises `InUseAtForkError`; the
parent is not affected. The same holds for the children of that child.

SQLite in memory: The child has a copy, provided that no other thread was using it.

PostgreSQL: The child's descriptors of the parent's sockets are replaced. What was in use in the
parent fails in the child as if the server had closed the connection; new connections work.

`subprocess` and multiprocessing's "spawn" start a new program and cost nothing: Python runs the
hooks for `os.fork` and `os.forkpty`, and for `subprocess` only with `preexec_fn`. A fork by C code
that Python does not see, and SQLite connections that no engine of shortsdb made (of `creator`, of
`sqlite3.connect`, an ATTACHed file), are not covered.
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

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

log = get_logger(__name__)

# Held over a fork, so that no connection is opened, taken from a pool or given back meanwhile.
# Reentrant: a signal handler may use the database while the main thread holds it.
_lock = threading.RLock()
_engines: WeakSet[Engine] = WeakSet()
# The open SQLite connections to files, those of PostgreSQL, and those of aiosqlite.
_open: WeakSet[_Connection] = WeakSet()
_sockets: WeakSet[Any] = WeakSet()
_threaded: WeakSet[Any] = WeakSet()
# Device and inode of each SQLite file that this process must not use.
_unsafe: set[tuple[int, int] | None] = set()
# A child never closes what it inherited.
_inherited: list[Any] = []


class InUseAtForkError(DontWrapMixin, InvalidRequestError):
    """A connection to this SQLite file was in use when the process was forked."""


def guard_forks(engine: Engine) -> None:
    """Make `engine` safe to use in both processes after a fork; see the module.

    Call it before other listeners are added: what they do to a connection is part of its set-up.
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
        # None: it was invalidated, and counts as in use until it is closed.
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
    """An SQLite connection that is known as long as it is open."""

    users: int | None = None
    """How many have taken it from the pool; None while it is being set up."""
    aiosqlite: Callable[[], Any] = staticmethod(lambda: None)
    """Return aiosqlite's connection around this one, if there is one."""

    def __init__(self, database: str | os.PathLike[str], *args: Any, **options: Any) -> None:  # noqa: ANN401 - sqlite3's own
        self.path = _path(os.fspath(database), uri=options.get("uri", False))
        with _lock:
            # Before SQLite is called: another thread may have held one of its mutexes at the fork.
            if _unsafe and _identity(self.path) in _unsafe:
                _refuse(self.path)
            super().__init__(database, *args, **options)
            self.file = _identity(self.path)
            if self.file is not None:
                _open.add(self)

    @property
    def usable(self) -> bool:
        """Whether it is open; a database in memory is never closed for a fork."""
        return self.file is None or self in _open

    def close(self) -> None:
        super().close()
        with _lock:
            _open.discard(self)


@cache
def _counted(factory: type[sqlite3.Connection]) -> type[_Connection]:
    """Return `factory`, which the application may have chosen, with what `_Connection` adds."""
    if factory is sqlite3.Connection:
        return _Connection
    return type(factory.__name__, (_Connection, factory), {})


def _path(database: str, *, uri: bool) -> str:
    """Return the absolute path of a database as sqlite3 is given it; "" if it has no file.

    For URI names see https://sqlite.org/uri.html.
    """
    if uri and database.startswith("file:"):
        parts = urlsplit(database)
        database = ":memory:" if "memory" in parse_qs(parts.query).get("mode", []) else parts.path
        database = unquote(database)
    return "" if database in {"", ":memory:"} else os.path.abspath(database)  # noqa: PTH100 - resolves no link


def _identity(path: str) -> tuple[int, int] | None:
    """Return a file's device and inode, by which SQLite too keeps its locks; None without one."""
    try:
        found = os.stat(path)  # noqa: PTH116 - "" is no file here, and the present folder to Path
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
        return
    wrapper = connection.aiosqlite()
    if wrapper is not None:
        # Closed as far as aiosqlite is concerned: else its close() would ask its thread to do it,
        # which in the child is not there. Here the thread ends.
        wrapper._connection = None  # noqa: SLF001 - close() is a coroutine, and there may be no loop
        wrapper._tx.put_nowait((None, wrapper.stop))  # noqa: SLF001 - stop() looks for a loop: let it be that thread's


def _after_in_parent() -> None:
    _lock.release()


def _after_in_child() -> None:
    _lock.release()
    # What is still open is in use.
    for connection in list(_open):
        _abandon(connection)
    _open.clear()
    for wrapper in _threaded:
        wrapper._tx = _NoThread()  # noqa: SLF001 - the one place where it hands work to its thread
    _cut_off(_sockets)
    for engine in _engines:
        # The only connection of a database in memory is the database.
        if not urls.in_memory(engine.url):
            # Another thread may have held the lock of the pool, and is not here to release it: make
            # a new pool, and let nothing come back to the old one.
            vars(engine.pool)["_do_return_conn"] = _nothing
            engine.dispose(close=False)


def _abandon(connection: _Connection) -> None:
    """Make sure that this process neither uses nor closes a connection that its parent uses.

    To roll it back or to close it would roll back the parent's transaction, in the file.
    """
    _unsafe.add(connection.file)
    # Never closed: even what a list holds is, when the interpreter ends.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    refused = ("cursor", "execute", "executemany", "executescript", "commit", "blobopen", "backup")
    vars(connection).update(dict.fromkeys(refused, partial(_refuse, connection.path)))
    # The end of a session that the child inherited is no error.
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
    """Stands in for the queue of an aiosqlite connection whose thread the fork did not copy.

    Work is done at once: to wait for that thread would be to hang.
    """

    def put_nowait(self, work: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, function = work
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - passed on to who awaits it
            if future is not None:
                future.set_exception(error)
        else:
            if future is not None:
                future.set_result(result)


def _cut_off(connections: WeakSet[Any]) -> None:
    """Let nothing that is done to these connections reach the server: it is the parent's session.

    This holds for queries and for the message that ends the session. For them the server is gone.
    """
    # Kept: a driver warns when an open connection is deleted.
    _inherited.extend(connections)
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        for connection in connections:
            # It has none if it is closed already.
            with suppress(Exception):
                os.dup2(ours.fileno(), connection.fileno(), inheritable=False)
            # The end of a session that the child inherited is no error.
            nothing = _nothing_async if iscoroutinefunction(connection.close) else _nothing
            vars(connection).update(rollback=nothing, close=nothing)
    connections.clear()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
