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

from sqlalchemy import Connection, TextClause, event
from sqlalchemy.engine.base import OptionEngine
from sqlalchemy.exc import OperationalError

from shortsdb.engine.errors import OutcomeUnknownError, ReadOnlyError, StaleRowError
from shortsdb.engine.memory import SharedConnectionPool
from shortsdb.engine.statements import is_pragma, may_lock_rows, may_write
from shortsdb.search_path import set_search_path

if TYPE_CHECKING:
    from sqlalchemy import (
        Compiled,
        CursorResult,
        Dialect,
        Engine,
        ExceptionContext,
        RootTransaction,
    )
    from sqlalchemy.engine.interfaces import DBAPIConnection, ExecutionContext
    from sqlalchemy.pool import ConnectionPoolEntry

READ_ONLY = "shortsdb_read_only"
READ_ONLY_OPTIONS = {READ_ONLY: True, "postgresql_readonly": True}
"""Execution options with which an engine or a connection cannot write.

The first is for SQLite and ours, the second SQLAlchemy's for SET TRANSACTION READ ONLY.
"""

# In the `info` of an SQLite connection: the caller has changed settings of it.
SETTINGS_CHANGED = "shortsdb_settings_changed"
# In the `info` of a connection to PostgreSQL: how long to wait for the write lock, and its schema.
_LOCK_TIMEOUT = "shortsdb_lock_timeout"
_SCHEMA = "shortsdb_schema"

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
    """A connection that knows how its transaction was begun.

    It overrides methods of SQLAlchemy without a public name and listens to no event of the engine:
    with a single such listener every statement, of whatever kind, takes SQLAlchemy's longer path.
    """

    # Whether the next statement takes the write lock, whatever it does.
    lock_first = False
    # The transaction has asked for the lock.
    locked = False
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

    def _begin_impl(self, transaction: RootTransaction) -> None:
        self.lock_first = True
        self.locked = self.flushing = self.committing = False
        self.refusal = None
        if self.dialect.name == "sqlite":
            self._begin_on_sqlite()
        super()._begin_impl(transaction)
        if (schema := self.info.get(_SCHEMA)) is not None:
            set_search_path(self, schema)

    def _begin_on_sqlite(self) -> None:
        options = self.get_execution_options()
        read_only = READ_ONLY in options
        # A read-only session that was dropped instead of closed has left it on.
        _set_query_only(self, on=read_only)
        if not read_only or options.get("isolation_level") == "AUTOCOMMIT":
            return
        driver_connection: Any = self.connection.driver_connection
        if not driver_connection.in_transaction:
            # One snapshot, from the first read on.
            _execute(self, "BEGIN")

    def _exec_single_context(
        self,
        dialect: Dialect,
        context: ExecutionContext,
        statement: str | Compiled,
        parameters: Any,  # noqa: ANN401 - SQLAlchemy's own
    ) -> CursorResult[Any]:
        _before_statement(self, context)
        return super()._exec_single_context(dialect, context, statement, parameters)

    def _exec_insertmany_context(
        self, dialect: Dialect, context: ExecutionContext
    ) -> CursorResult[Any]:
        _before_statement(self, context)
        return super()._exec_insertmany_context(dialect, context)

    def _rollback_impl(self) -> None:
        self.flushing, self.refusal = False, None
        _allow_writes(self)
        if not self._is_of_another():
            super()._rollback_impl()

    def _commit_impl(self) -> None:
        self.committing = True
        _allow_writes(self)
        if not self._is_of_another():
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


class _TrackedOptionEngine(OptionEngine):
    """What `execution_options` of an engine of ours returns."""

    _connection_cls = TrackedConnection


_TrackedOptionEngine._option_cls = _TrackedOptionEngine  # noqa: SLF001 - of our own class


def track_transactions(
    engine: Engine, lock_timeout_milliseconds: int | None, schema: str | None
) -> None:
    """Let the transactions of an engine be what this module says.

    Args:
        engine: On SQLite or PostgreSQL, sync.
        lock_timeout_milliseconds: How long PostgreSQL waits for the write lock, None for as long as
            the server's `lock_timeout` says; SQLite waits for its `busy_timeout`.
        schema: That of the tables on PostgreSQL, None for the first of the search_path.
    """

    def connect(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info[_LOCK_TIMEOUT] = lock_timeout_milliseconds
        record.info[_SCHEMA] = schema

    # SQLAlchemy has no public setting for the class of connections.
    vars(engine).update(_connection_cls=TrackedConnection, _option_cls=_TrackedOptionEngine)
    event.listen(engine, "connect", connect)
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
        milliseconds = connection.info[_LOCK_TIMEOUT]
        timeout = "timeout_before" if milliseconds is None else f"'{milliseconds}'"
        connection.exec_driver_sql(_TAKE_ADVISORY_LOCK.format(timeout=timeout))


def _before_statement(connection: TrackedConnection, context: ExecutionContext) -> None:
    statement = context.statement or ""
    if connection.lock_first or may_write(statement) or _locks_rows(context, statement):
        if connection.refusal is not None:
            refusal, connection.refusal = connection.refusal, None
            raise refusal
        take_write_lock(connection)
    elif is_pragma(statement):
        connection.info[SETTINGS_CHANGED] = True


def _locks_rows(context: ExecutionContext, statement: str) -> bool:
    """Return whether a SELECT locks its rows, which SQLite's does not say in its text."""
    compiled = context.compiled
    if compiled is None or isinstance(compiled.statement, TextClause):
        return may_lock_rows(statement)
    return getattr(compiled.statement, "_for_update_arg", None) is not None


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
    _execute(connection, f"PRAGMA query_only = {on}")
    connection.info[READ_ONLY] = on


def _execute(connection: Connection, statement: str) -> None:
    """Execute a statement of SQLite not through SQLAlchemy, which takes ten times as long."""
    cursor = connection.connection.cursor()
    cursor.execute(statement)
    cursor.close()


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
