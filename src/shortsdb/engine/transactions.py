"""When a transaction begins and when it takes the write lock, on SQLite and PostgreSQL.

Reads of a plain transaction run without a lock: on SQLite outside any transaction, on PostgreSQL
under READ COMMITTED. Its first writing statement takes the write lock first, and from then on it is
one transaction. A transaction that is begun explicitly takes the lock before its first statement.

SQLite has the lock by itself: BEGIN IMMEDIATE. On PostgreSQL it is an advisory lock of the schema,
which belongs to the transaction and therefore works behind a transaction pooler.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from shortsdb.engine.errors import OutcomeUnknownError, ReadOnlyError, StaleRowError
from shortsdb.engine.memory import SharedConnectionPool
from shortsdb.engine.statements import is_pragma, may_write

if TYPE_CHECKING:
    from sqlalchemy import Engine, ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext

READ_ONLY = "shortsdb_read_only"
READ_ONLY_OPTIONS = {READ_ONLY: True, "postgresql_readonly": True}
"""Execution options with which an engine or a connection cannot write.

The first is for SQLite and ours, the second SQLAlchemy's for SET TRANSACTION READ ONLY.
"""

# In the `info` of an SQLite connection: the caller has changed settings of it.
SETTINGS_CHANGED = "shortsdb_settings_changed"

# serialization_failure and deadlock_detected
# (https://www.postgresql.org/docs/current/errcodes-appendix.html).
CONFLICT_STATES = frozenset({"40001", "40P01"})

# One round trip; the setting is back to what it was before the first statement of the caller. The
# first key is shortsdb's own ("shor"), the second stands for the schema.
_TAKE_ADVISORY_LOCK = """\
DO $$
DECLARE
    timeout_before text := current_setting('lock_timeout');
BEGIN
    PERFORM set_config('lock_timeout', {timeout}, true);
    PERFORM pg_advisory_xact_lock(1936224114, hashtext(coalesce(current_schema(), '')));
    PERFORM set_config('lock_timeout', timeout_before, true);
END $$"""


class TrackedConnection(Connection):
    """A connection that knows how its transaction was begun."""

    # Whether the next statement takes the write lock, whatever it does.
    lock_first = False
    # The transaction has asked for the lock.
    locked = False
    # How long to wait for it there; None leaves that to the server's lock_timeout.
    lock_timeout_milliseconds: int | None = None
    flushing = False
    committing = False
    # What the next write of a flush is refused with: raised inside the flush, it makes SQLAlchemy
    # roll back as after any other failed flush.
    refusal: StaleRowError | None = None

    def _autobegin(self) -> None:
        # SQLAlchemy has no event that tells this from an explicit `begin`. Were it renamed, every
        # transaction would count as explicit: slower, and as safe.
        super()._autobegin()
        self.lock_first = False

    def _rollback_impl(self) -> None:
        if self._is_of_another():
            _allow_writes(self)
        else:
            super()._rollback_impl()

    def _commit_impl(self) -> None:
        if self._is_of_another():
            _allow_writes(self)
        else:
            super()._commit_impl()

    def _is_of_another(self) -> bool:
        """Return whether the open transaction was begun through another `Connection`.

        The sessions of one thread share the connection of a database in memory: one that has
        written nothing must not end what the other has begun.
        """
        return (
            isinstance(self.engine.pool, SharedConnectionPool)
            and not self.locked
            and self._still_open_and_dbapi_connection_is_valid
            and self.connection._counter > 1  # noqa: SLF001 - of the pool
        )


def track_transactions(engine: Engine, lock_timeout_milliseconds: int | None) -> None:
    """Let the transactions of an engine be what this module says.

    Args:
        engine: On SQLite or PostgreSQL, sync.
        lock_timeout_milliseconds: How long PostgreSQL waits for the write lock; SQLite waits for
            its `busy_timeout`.
    """

    def engine_connect(connection: Connection) -> None:
        connection.__class__ = TrackedConnection
        if isinstance(connection, TrackedConnection):
            connection.lock_timeout_milliseconds = lock_timeout_milliseconds

    event.listen(engine, "engine_connect", engine_connect)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "before_cursor_execute", _before_cursor_execute)
    event.listen(engine, "commit", _commit)
    event.listen(engine, "rollback", _rollback)
    event.listen(engine, "handle_error", _handle_error)


def read_only_options(dialect: str) -> dict[str, Any]:
    """Return the execution options of an engine whose transactions read one snapshot."""
    if dialect == "sqlite":
        return READ_ONLY_OPTIONS
    return {**READ_ONLY_OPTIONS, "isolation_level": "REPEATABLE READ"}


def take_write_lock(connection: TrackedConnection) -> None:
    """Take the write lock, unless the transaction has it or is not to have it.

    Raises:
        sqlalchemy.exc.OperationalError: Another transaction kept it for too long.
    """
    connection.lock_first = False
    if connection.get_execution_options().get(READ_ONLY):
        return
    driver_connection: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        connection.locked = True
        autocommit = driver_connection.isolation_level is None
        if not (driver_connection.in_transaction or autocommit):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif not (connection.locked or driver_connection.autocommit):
        # First, because the statement below comes here again.
        connection.locked = True
        milliseconds = connection.lock_timeout_milliseconds
        timeout = "timeout_before" if milliseconds is None else f"'{milliseconds}'"
        connection.exec_driver_sql(_TAKE_ADVISORY_LOCK.format(timeout=timeout))


def _begin(connection: TrackedConnection) -> None:
    connection.lock_first = True
    connection.locked = connection.flushing = connection.committing = False
    connection.refusal = None
    if connection.dialect.name != "sqlite":
        return
    options = connection.get_execution_options()
    read_only = bool(options.get(READ_ONLY))
    # A read-only session that was dropped instead of closed has left it on.
    _set_query_only(connection, on=read_only)
    driver_connection: Any = connection.connection.driver_connection
    autocommit = options.get("isolation_level") == "AUTOCOMMIT"
    if read_only and not (autocommit or driver_connection.in_transaction):
        # One snapshot, from the first read on.
        connection.exec_driver_sql("BEGIN")


def _before_cursor_execute(
    connection: TrackedConnection,
    _cursor: DBAPICursor,
    statement: str,
    _parameters: object,
    context: ExecutionContext | None,
    _executemany: bool,  # noqa: FBT001 - the event's signature
) -> None:
    if connection.lock_first or may_write(statement) or _is_for_update(context):
        if connection.refusal is not None:
            refusal, connection.refusal = connection.refusal, None
            raise refusal
        take_write_lock(connection)
    elif is_pragma(statement):
        connection.info[SETTINGS_CHANGED] = True


def _is_for_update(context: ExecutionContext | None) -> bool:
    """Return whether a SELECT locks its rows, which SQLite's does not say in its text."""
    compiled = None if context is None else context.compiled
    statement = None if compiled is None else compiled.statement
    return getattr(statement, "_for_update_arg", None) is not None


def _commit(connection: TrackedConnection) -> None:
    connection.committing = True
    _allow_writes(connection)


def _rollback(connection: TrackedConnection) -> None:
    connection.flushing, connection.refusal = False, None
    _allow_writes(connection)


def _allow_writes(connection: Connection) -> None:
    """Undo query_only before the connection goes back to the pool."""
    if connection.dialect.name == "sqlite" and not connection.invalidated:
        _set_query_only(connection, on=False)


def _set_query_only(connection: Connection, *, on: bool) -> None:
    # Whether it is on is remembered with the driver's connection: most transactions find it right.
    if connection.info.get(READ_ONLY, False) is on:
        return
    # Unknown, should a cancelled task end here.
    connection.info[READ_ONLY] = None
    # Not through SQLAlchemy, which would make a short read a third longer.
    cursor = connection.connection.cursor()
    cursor.execute(f"PRAGMA query_only = {on}")
    cursor.close()
    connection.info[READ_ONLY] = on


def _handle_error(context: ExceptionContext) -> None:
    connection, error = context.connection, context.original_exception
    if not isinstance(connection, TrackedConnection) or context.sqlalchemy_exception is None:
        return
    # SQLite says the same of a file that must not be written to.
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY:
        if connection.get_execution_options().get(READ_ONLY):
            raise ReadOnlyError(f"a read-only session cannot write: {context.statement}")
    elif getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY_SNAPSHOT:
        refused = context.sqlalchemy_exception
        raise OperationalError(
            refused.statement,
            refused.params,
            sqlite3.OperationalError(
                "database is locked: another transaction has written since this connection began "
                "to read. Before a write read a result to its end, by .all(), or begin explicitly"
            ),
        )
    elif context.is_disconnect and connection.committing and connection.locked:
        raise OutcomeUnknownError(
            "the connection was lost during COMMIT: the transaction may or may not be committed. "
            "Look into the database before you repeat it"
        )
    elif connection.flushing and getattr(error, "sqlstate", None) in CONFLICT_STATES:
        raise StaleRowError
