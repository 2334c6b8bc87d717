"""Changes a PostgreSQL database: plans, runs the revisions, in one transaction if they can."""

from __future__ import annotations

import time
from itertools import groupby
from typing import TYPE_CHECKING, Any

from alembic import context
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.schema import CreateSchema

from shortsdb.driver_errors import explain, left_behind
from shortsdb.log import get_logger
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.history import record
from shortsdb.migration.locks import advisory_lock, autocommit, limit_waits, session_lock
from shortsdb.migration.plan import Plan, Planner, runs_alone
from shortsdb.migration.revision_run import MigrationHalfApplied, RevisionRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.runtime.migration import RevisionStep
    from sqlalchemy import Connection

log = get_logger(__name__)

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
        with session_lock(self.connection, version_table) as holder:
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
        first, *_ = part.revisions
        if runs_alone(context.script, first):
            self._run_alone(first)
            with context.begin_transaction():
                self._record(part, begun)
            return
        with context.begin_transaction():
            limit_waits(self.connection)
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
        with autocommit(self.connection):
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
