"""Begin transactions and take the write lock, on SQLite and PostgreSQL.

Reads of an implicit transaction run without a lock: on SQLite outside any transaction, on
PostgreSQL under READ COMMITTED. Its first writing statement takes the write lock before it runs,
and everything from then on is one transaction. An explicit transaction takes the lock before its
first statement.

On SQLite the write lock is that of BEGIN IMMEDIATE. On PostgreSQL it is an advisory lock of the
schema, which belongs to the transaction and therefore works behind a transaction pooler.
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
from shortsdb.postgresql_session import set_search_path

if TYPE_CHECKING:
    from sqlalchemy import (
        Compiled,
        CursorResult,
        Dialect,
        Engine,
        ExceptionContext,
        RootTransaction,
        TwoPhaseTransaction,
    )
    from sqlalchemy.engine.interfaces import DBAPIConnection, ExecutionContext
    from sqlalchemy.pool import ConnectionPoolEntry

READ_ONLY = "shortsdb_read_only"
READ_ONLY_OPTIONS = {READ_ONLY: True, "postgresql_readonly": True}
"""Execution options that make an engine or a connection read-only.

The first is shortsdb's own, for SQLite; the second is SQLAlchemy's for SET TRANSACTION READ ONLY.
"""

# Key in the `info` of a SQLite connection: whether the caller has changed its settings.
SETTINGS_CHANGED = "shortsdb_settings_changed"
# Keys in the `info` of a PostgreSQL connection: how long to wait for the write lock, its schema.
_LOCK_TIMEOUT = "shortsdb_lock_timeout"
_SCHEMA = "shortsdb_schema"

# serialization_failure and deadlock_detected
# (https://www.postgresql.org/docs/current/errcodes-appendix.html).
CONFLICT_STATES = frozenset({"40001", "40P01"})

# One round trip, which restores `lock_timeout` before the caller's first statement. The first key
# identifies shortsdb ("shor"), the second one the schema.
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
    """A connection that knows whether its transaction was begun explicitly.

    It overrides private methods of SQLAlchemy instead of listening to events of the engine, because
    a single such listener makes every statement take SQLAlchemy's slower path.
    """

    # Whether the next statement takes the write lock, even if it only reads.
    lock_first: bool
    # Whether the transaction has requested the lock.
    locked: bool
    flushing: bool
    committing: bool
    # Whether this transaction has set query_only.
    query_only = False
    # The error that the next write of a flush raises. Raised inside the flush, it makes SQLAlchemy
    # roll back as after any other failed flush.
    refusal: StaleRowError | None

    def _autobegin(self) -> None:
        # No event of SQLAlchemy distinguishes this from an explicit `begin`. If SQLAlchemy renamed
        # the method, every transaction would count as explicit, which is slower but just as safe.
        super()._autobegin()
        self.lock_first = False

    def _begin_impl(self, transaction: RootTransaction) -> None:
        self._begin_anew()
        if self.dialect.name == "sqlite":
            self._begin_on_sqlite()
        super()._begin_impl(transaction)
        self._use_schema()

    def _begin_twophase_impl(self, transaction: TwoPhaseTransaction) -> None:
        self._begin_anew()
        super()._begin_twophase_impl(transaction)
        self._use_schema()

    def _begin_anew(self) -> None:
        self.lock_first = True
        self.locked = self.committing = False
        self.end_flush()

    def end_flush(self) -> None:
        """Forget a flush, and a refusal that none of its writes has raised."""
        self.flushing = False
        self.refusal = None

    def _use_schema(self) -> None:
        if self.dialect.name != "sqlite" and (schema := self.info[_SCHEMA]) is not None:
            set_search_path(self, schema)

    def _begin_on_sqlite(self) -> None:
        options = self.get_execution_options()
        self.query_only = READ_ONLY in options
        # A read-only session that was never closed leaves query_only on.
        _set_query_only(self, on=self.query_only)
        if not self.query_only or options.get("isolation_level") == "AUTOCOMMIT":
            return
        pooled: Any = self.connection
        if not pooled.driver_connection.in_transaction:
            # Reads then see one snapshot, taken at the first of them.
            pooled.cursor().execute("BEGIN")

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

    def _rollback_to_savepoint_impl(self, name: str) -> None:
        self.end_flush()  # one that failed in the savepoint
        super()._rollback_to_savepoint_impl(name)

    def _rollback_impl(self) -> None:
        self._allow_writes()
        if not self._is_of_another():
            super()._rollback_impl()

    def _commit_impl(self) -> None:
        self.committing = True
        self._allow_writes()
        if self._is_of_another():
            return
        try:
            super()._commit_impl()
        except BaseException:
            # SQLite leaves the transaction open, and SQLAlchemy takes it for ended: the next commit
            # of this connection would commit it.
            if self.dialect.name == "sqlite" and not self.invalidated:
                self.dialect.do_rollback(self.connection)
            raise

    def _allow_writes(self) -> None:
        """Reset query_only before the connection returns to the pool."""
        if self.query_only and not self.invalidated:
            _set_query_only(self, on=False)

    def _is_of_another(self) -> bool:
        """Return whether the open transaction was begun through another `Connection`.

        The sessions of one thread share the connection of a database in memory. A session that has
        written nothing must not end the transaction of another.
        """
        return (
            isinstance(self.engine.pool, SharedConnectionPool)
            and not self.locked
            and self._still_open_and_dbapi_connection_is_valid
            and self.connection._counter > 1  # noqa: SLF001 - of the pool
        )


class _TrackedOptionEngine(OptionEngine):
    """The result of `Engine.execution_options` for engines of shortsdb."""

    _connection_cls = TrackedConnection


_TrackedOptionEngine._option_cls = _TrackedOptionEngine  # noqa: SLF001 - a class of this module


def track_transactions(
    engine: Engine, lock_timeout_milliseconds: int | None, schema: str | None
) -> None:
    """Make the transactions of an engine behave as this module describes.

    Args:
        engine: A sync engine on SQLite or PostgreSQL.
        lock_timeout_milliseconds: How long to wait for the write lock on PostgreSQL; None means the
            server's `lock_timeout`. SQLite waits for its `busy_timeout`.
        schema: The schema of the tables on PostgreSQL; None means the first of the search_path.
    """

    def connect(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info[_LOCK_TIMEOUT] = lock_timeout_milliseconds
        record.info[_SCHEMA] = schema

    # SQLAlchemy has no public setting for the class of connections.
    vars(engine).update(_connection_cls=TrackedConnection, _option_cls=_TrackedOptionEngine)
    event.listen(engine, "connect", connect)
    event.listen(engine, "handle_error", _handle_error)


def read_only_options(dialect: str) -> dict[str, Any]:
    """Return the execution options that make each transaction read one snapshot and not write."""
    if dialect == "sqlite":
        return READ_ONLY_OPTIONS
    return {**READ_ONLY_OPTIONS, "isolation_level": "REPEATABLE READ"}


def take_write_lock(connection: TrackedConnection) -> None:
    """Take the write lock, unless the transaction has it, is read-only or commits automatically.

    Raises:
        sqlalchemy.exc.OperationalError: The lock was not released in time.
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
        # Set first, because executing the statement below calls this function again.
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
    """Return whether a SELECT locks its rows; SQLAlchemy omits FOR UPDATE in SQLite's text."""
    compiled = context.compiled
    if compiled is None or isinstance(compiled.statement, TextClause):
        return may_lock_rows(statement)
    return getattr(compiled.statement, "_for_update_arg", None) is not None


def _set_query_only(connection: Connection, *, on: bool) -> None:
    pooled = connection.connection
    # `info` caches the setting, because most transactions need not change it.
    if pooled.info.get(READ_ONLY, False) is on:
        return
    # None means unknown, in case the task is cancelled while it executes the statement.
    pooled.info[READ_ONLY] = None
    # Not through SQLAlchemy, which takes ten times as long.
    pooled.cursor().execute(f"PRAGMA query_only = {on}")
    pooled.info[READ_ONLY] = on


def _handle_error(context: ExceptionContext) -> None:
    connection, error = context.connection, context.original_exception
    if not isinstance(connection, TrackedConnection) or context.sqlalchemy_exception is None:
        return
    code = getattr(error, "sqlite_errorcode", None)
    # SQLite reports the same code for a read-only file.
    if code == sqlite3.SQLITE_READONLY:
        if connection.get_execution_options().get(READ_ONLY):
            raise ReadOnlyError(f"a read-only session cannot write: {context.statement}")
    elif code == sqlite3.SQLITE_BUSY_SNAPSHOT:
        refused = context.sqlalchemy_exception
        raise OperationalError(
            refused.statement,
            refused.params,
            sqlite3.OperationalError(
                "database is locked: another transaction has written since this connection began "
                "to read. Read results to the end before writing, with .all(), or begin explicitly"
            ),
        )
    elif context.is_disconnect and connection.committing and connection.locked:
        raise OutcomeUnknownError(
            "the connection was lost during COMMIT: the transaction may or may not be committed. "
            "Check the database before you repeat it"
        )
    elif connection.flushing and getattr(error, "sqlstate", None) in CONFLICT_STATES:
        raise StaleRowError
