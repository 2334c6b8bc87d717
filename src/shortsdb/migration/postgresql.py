"""Migrations of PostgreSQL: one at a time, and none that queues everybody behind it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any
from zlib import crc32

from alembic import context
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.schema import CreateSchema

from shortsdb.driver_errors import explain, left_behind
from shortsdb.log import get_logger
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.history import record
from shortsdb.migration.plan import Plan, Planner, runs_alone
from shortsdb.migration.revision_run import MigrationHalfApplied, RevisionRun
from shortsdb.settings import lock_timeout, statement_timeout, table_lock_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alembic.runtime.migration import RevisionStep
    from sqlalchemy import Connection

log = get_logger(__name__)

_POLL_SECONDS = 0.05

_INVALID_INDEXES = text(
    "SELECT indexrelid::regclass::text, indrelid::regclass::text FROM pg_index"
    " JOIN pg_class ON pg_class.oid = indexrelid"
    # One of a partitioned table is invalid until its partitions have theirs.
    " WHERE relkind = 'i' AND NOT indisvalid AND pg_table_is_visible(indrelid) ORDER BY 1"
)


class PostgreSQLMigration:
    """One upgrade, downgrade or stamp of one PostgreSQL database.

    It is one transaction, unless one of its revisions cannot run in any, see `plan.runs_alone`.
    Then those run alone, what is between two of them is a transaction, and a lock that a connection
    of its own holds lasts for all of it.
    """

    def __init__(self, connection: Connection, planner: Planner) -> None:
        """Prepare, once `context.configure` was called; nothing is read yet.

        Args:
            connection: The database.
            planner: What plans the command.
        """
        self.connection = connection
        self.planner = planner
        self.target = planner.target
        self.in_one_transaction = True
        self._of_caller = connection.in_transaction()

    def run(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Do it all, and return the versions before and after.

        Raises:
            MigrationRefused: Nothing was changed; the message says why.
            MigrationHalfApplied: A part of it is committed; the message says what is left.
        """
        migration = context.get_context()
        version_table = migration.version_table
        begun = time.monotonic()
        with advisory_lock(self.connection, version_table, context.begin_transaction):
            locked = time.monotonic()
            plan = self.planner.plan()
            self._create_schema()
            alone = [step for step in plan.revisions if runs_alone(context.script, step)]
            if not alone:
                self.planner.start(plan)
                self._run_transaction(plan)
                after = migration.get_current_heads()
                record(self.connection, plan, after, begun=begun, locked=locked)
                return plan.heads, after
            self._refuse_without_session(alone[0])
        self.in_one_transaction = False
        with _session_lock(self.connection, version_table) as holder:
            with context.begin_transaction():
                plan = self.planner.plan()  # another upgrade may have come first
                self.planner.start(plan)
                if plan.stamp is not None:
                    self._record(Plan(plan.heads, plan.stamp), time.monotonic())
            for number, part in enumerate(_parts(plan)):
                holder.execute("SELECT 1")  # fails if the lock is lost
                try:
                    self._run_part(part)
                except (MigrationRefused, DBAPIError) as error:
                    if not number or isinstance(error, MigrationHalfApplied):
                        raise
                    raise self._kept(error) from error
            with context.begin_transaction():
                return plan.heads, context.get_context().get_current_heads()

    def _create_schema(self) -> None:
        """Create the schema of the target, if it is not there."""
        there = text("SELECT count(*) FROM pg_namespace WHERE nspname = :name")
        name = self.target.schema
        if name is not None and not self.connection.scalar(there, {"name": name}):
            self.connection.execute(CreateSchema(name))
            log.info("%s: created the schema", self.target)

    def _record(self, part: Plan, begun: float) -> None:
        """Write a part into the history, in its own transaction if it has one."""
        after = context.get_context().get_current_heads() if part.steps else (str(part.stamp),)
        record(self.connection, part, after, begun=begun, locked=begun)

    def _run_part(self, part: Plan) -> None:
        begun = time.monotonic()
        context.configure(
            connection=self.connection,
            on_version_apply=context.get_context().on_version_apply_callbacks,
            fn=lambda *_: part.steps,
        )
        if runs_alone(context.script, part.revisions[0]):
            self._run_alone(part.revisions[0])
            with context.begin_transaction():
                self._record(part, begun)
            return
        with context.begin_transaction():
            _limit_waits(self.connection)
            self._run_transaction(part)
            self._record(part, begun)

    def _run_transaction(self, plan: Plan) -> None:
        backup = "No backup of it was made"
        RevisionRun(self.connection, plan, self.target, backup=backup).run()

    def _run_alone(self, revision: str) -> None:
        """Run a revision each of whose statements commits by itself.

        Raises:
            MigrationRefused: There is an invalid index, which IF NOT EXISTS would take for a good
                one.
            MigrationHalfApplied: The revision has failed.
        """
        with _autocommit(self.connection):
            if invalid := self._invalid_indexes():
                raise MigrationRefused(
                    f"{self.target}: revision {revision} builds an index, and {invalid}; nothing "
                    "was changed. Look first whether it is still being built "
                    "(pg_stat_progress_create_index)"
                )
            try:
                context.run_migrations()
            except (DBAPIError, self.connection.dialect.loaded_dbapi.Error) as error:
                raise self._failed_alone(revision, error) from error
            if invalid := self._invalid_indexes():
                log.warning("%s: %s", self.target, invalid)

    def _failed_alone(self, revision: str, error: BaseException) -> MigrationHalfApplied:
        at = self._at()
        try:
            invalid = self._invalid_indexes()
        except SQLAlchemyError:  # as in _at
            invalid = "an index may be invalid (\\d of the table says so): drop it"
        return MigrationHalfApplied(
            f"{explain(error, self.target.name)}. Revision {revision} runs outside of a "
            "transaction, so what it did until then is kept, and so are the revisions before it: "
            f"the database is at {at}{invalid and f', and {invalid}'}. Run the same again once "
            "this is mended"
        )

    def _kept(self, error: MigrationRefused | DBAPIError) -> MigrationHalfApplied:
        """Return the error of a part for what it is after others were committed."""
        if isinstance(error, MigrationRefused):
            message = error.message
        else:
            message = f"{explain(error, self.target.name)}; {left_behind(error, 'changed')}"
        kept = f"nothing after revision {self._at()} was changed"
        return MigrationHalfApplied(message.replace("nothing was changed", kept))

    def _at(self) -> str:
        try:
            self.connection.rollback()  # after which a lost one is opened again
            return ", ".join(context.get_context().get_current_heads()) or "no version"
        except SQLAlchemyError:  # the server is gone
            return "what cannot be read now"

    def _invalid_indexes(self) -> str:
        """Return which indexes are invalid, with the way out; nothing for none."""
        return ", and ".join(
            f"the index {index} of {table} is invalid, because its CREATE INDEX CONCURRENTLY did "
            f"not end: DROP INDEX CONCURRENTLY {index}"
            for index, table in self.connection.execute(_INVALID_INDEXES)
        )

    def _refuse_without_session(self, revision: str) -> None:
        """Refuse a revision that runs alone where there is no session to lock and to set."""
        what = f"revision {revision} cannot run in a transaction (transactional = False)"
        if self._of_caller:
            raise MigrationRefused(
                f"{self.target}: {what}, and the connection handed in is in one; nothing was "
                "changed. Upgrade the database by its URL first"
            )
        # PgBouncer tells its client another number than that of the server's process.
        driver: Any = self.connection.connection.driver_connection
        told = getattr(getattr(driver, "info", None), "backend_pid", None)
        if told not in {None, self.connection.scalar(select(func.pg_backend_pid()))}:
            raise MigrationRefused(
                f"{self.target} is a pooler, and {what}: it needs a session of the server's own; "
                "nothing was changed. Upgrade by the address of the server itself"
            )


def _parts(plan: Plan) -> Iterator[Plan]:
    """Give what is committed together: each revision that runs alone, and what is between two."""

    def alone(step: RevisionStep) -> RevisionStep | None:
        return step if runs_alone(context.script, step.info.up_revision_id or "") else None

    heads = plan.heads if plan.stamp is None else (plan.stamp,)
    for _, group in groupby(plan.steps, alone):
        steps = tuple(group)
        yield Plan(heads, None, steps)
        heads = tuple(map(str, steps[-1].info.destination_revision_ids))


@contextmanager
def advisory_lock(
    connection: Connection,
    version_table: str,
    begin: Callable[[], AbstractContextManager[Any]],
) -> Iterator[None]:
    """Hold a transaction in which no other migration runs, and no statement waits or runs for long.

    The timeouts are what they were after the block, because the transaction may be the caller's.

    It is begun again for each try. One that waits for the lock would be waited for, in its turn, by
    CREATE INDEX CONCURRENTLY of the migration that has the lock.

    Args:
        connection: The database.
        version_table: Migrations with the same one take turns.
        begin: Begins the transaction, such as `connection.begin`.
    """
    key = crc32(version_table.encode())
    give_up = time.monotonic() + lock_timeout()
    while True:
        with begin():
            before = _timeouts(connection)
            if connection.scalar(select(func.pg_try_advisory_xact_lock(key))):
                _limit_waits(connection)
                yield
                _set(connection, before, local=True)
                return
            if time.monotonic() > give_up:  # the server's own error says it best
                set_timeouts(connection, lock=0, statement=0)
                connection.execute(select(func.pg_advisory_xact_lock(key)))
        time.sleep(_POLL_SECONDS)


@contextmanager
def _session_lock(connection: Connection, version_table: str) -> Iterator[Any]:
    """Take the same lock on another connection, for the time of the block, and give its cursor."""
    # A pool of its own: the present one may have no second connection to give.
    pool = connection.engine.pool.recreate()
    try:
        with closing(pool.connect()) as holder:
            driver: Any = holder.dbapi_connection
            driver.autocommit = True
            cursor = holder.cursor()
            cursor.execute(
                "SELECT set_config(name, '0', false) FROM pg_settings"
                " WHERE name IN ('statement_timeout', 'idle_session_timeout')"
            )
            key = crc32(version_table.encode())
            give_up = time.monotonic() + lock_timeout()
            while not _answer(cursor, f"SELECT pg_try_advisory_lock({key})"):
                if time.monotonic() > give_up:  # as in advisory_lock
                    cursor.execute("SET lock_timeout = 1")
                    cursor.execute(f"SELECT pg_advisory_lock({key})")
                time.sleep(_POLL_SECONDS)
            yield cursor
    finally:
        pool.dispose()


def _answer(cursor: Any, statement: str) -> Any:  # noqa: ANN401 - of any driver
    cursor.execute(statement)
    return cursor.fetchone()[0]


@contextmanager
def _autocommit(connection: Connection) -> Iterator[None]:
    """Let each statement of the block commit by itself, and take as long as it takes."""
    level = connection.get_execution_options().get(
        "isolation_level", connection.default_isolation_level
    )
    connection.execution_options(isolation_level="AUTOCOMMIT")
    before = _timeouts(connection)
    try:
        # CREATE INDEX CONCURRENTLY waits for older transactions, and nobody waits for it.
        set_timeouts(connection, lock=lock_timeout(), statement=0, local=False)
        yield
        _set(connection, before, local=False)
    finally:
        if not connection.invalidated:
            connection.rollback()
            connection.execution_options(isolation_level=level)


def set_timeouts(
    connection: Connection, *, lock: float, statement: float, local: bool = True
) -> None:
    """Set how many seconds a statement waits for a lock and takes.

    Args:
        connection: One in a transaction.
        lock: At least a millisecond: 0 would mean for ever to PostgreSQL, and means not at all.
        statement: 0 for as long as it takes, whatever is set for the role or the database.
        local: To the end of the transaction, else of the session.
    """
    seconds = {"lock_timeout": max(lock, 0.001), "statement_timeout": statement}
    values = {name: f"{value * 1000:.0f}ms" for name, value in seconds.items()}
    _set(connection, values, local=local)


def _limit_waits(connection: Connection) -> None:
    set_timeouts(connection, lock=table_lock_timeout(), statement=statement_timeout())


def _timeouts(connection: Connection) -> dict[str, str]:
    return {
        name: connection.execute(select(func.current_setting(name))).scalar_one()
        for name in ("lock_timeout", "statement_timeout")
    }


def _set(connection: Connection, values: dict[str, str], *, local: bool) -> None:
    for name, value in values.items():
        connection.execute(select(func.set_config(name, value, local)))
