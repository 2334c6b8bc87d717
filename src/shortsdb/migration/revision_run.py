"""Run the migrations of a plan one by one, and report which one failed and what was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic import context
from sqlalchemy.exc import SQLAlchemyError

from shortsdb.driver_errors import explain
from shortsdb.log import get_logger
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.one_transaction import OneTransaction

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationInfo
    from sqlalchemy import Connection

    from shortsdb.migration.plan import Plan
    from shortsdb.migration.rebuild_checks import RebuildChecks
    from shortsdb.target import Target

log = get_logger(__name__)


class MigrationHalfApplied(MigrationRefused):
    """A migration has committed by itself; the message describes the state of the database."""


class RevisionRun:
    """One run of the migrations of a plan."""

    def __init__(
        self,
        connection: Connection,
        plan: Plan,
        target: Target,
        *,
        backup: str,
        checks: RebuildChecks | None = None,
    ) -> None:
        """Prepare the run; nothing is read yet.

        Args:
            connection: The database, in the transaction of all migrations.
            plan: The plan to run.
            target: The database.
            backup: A sentence that says where the backup is.
            checks: The comparison after each migration, on SQLite.
        """
        self.connection = connection
        self.plan = plan
        self.target = target
        self.backup = backup
        self.checks = checks
        self._done = 0

    def run(self) -> None:
        """Run all migrations of the plan.

        Raises:
            MigrationRefused: A migration is at fault, and nothing was changed.
            MigrationHalfApplied: A migration is at fault, and has committed changes.
        """
        migration = context.get_context()
        reports = migration.on_version_apply_callbacks
        transaction = OneTransaction(self.connection)

        def check(*, step: MigrationInfo, **_: Any) -> None:  # noqa: ANN401 - Alembic's own
            self._check(transaction, step)

        migration.on_version_apply_callbacks = (check, *reports)
        try:
            with transaction.watch():
                context.run_migrations()
        except Exception as error:
            # A denied statement is the cause of any error that follows it.
            if transaction.ended:
                raise self._ended(transaction) from error
            if transaction.denied:
                raise self._denied(transaction.denied) from error
            if isinstance(error, self.connection.dialect.loaded_dbapi.Error):
                # Raised by a cursor of the driver; the caller explains SQLAlchemy's errors.
                raise MigrationRefused(
                    f"{explain(error, self.target.name)}; nothing was changed. Revision "
                    f"{self._revision} is at fault, report it"
                ) from error
            raise
        finally:
            migration.on_version_apply_callbacks = reports

    def _check(self, transaction: OneTransaction, step: MigrationInfo) -> None:
        if step.is_stamp:
            return
        transaction.check()
        self._done += 1
        if self.checks is None:
            return
        revision = str(step.up_revision_id)
        module = context.script.get_revision(revision).module
        changed = self.checks.check(
            revision,
            transaction.authorizer,
            changes=getattr(module, "changes_rows", {}),
            drops=getattr(module, "drops", {}),
            upgrades=step.is_upgrade,
        )
        for table in sorted(changed):
            log.info("%s changes rows of %s: %s", revision, table, module.changes_rows[table])
        if self._done < len(self.plan.revisions):
            self.checks.begin_revision(changed=bool(changed))
            if transaction.authorizer is not None:
                transaction.authorizer.forget()

    @property
    def _revision(self) -> str:
        """The current migration, which is the one at fault if there is an error."""
        return self.plan.revisions[min(self._done, len(self.plan.revisions) - 1)]

    def _denied(self, what: str) -> MigrationRefused:
        return MigrationRefused(
            f"{self.target}: revision {self._revision} runs {what}, and no revision may end, "
            "change or leave the one transaction of an upgrade; nothing was changed. Take it out "
            "(autocommit_block, commit, executescript, COMMIT), or report the revision"
        )

    def _ended(self, transaction: OneTransaction) -> MigrationRefused:
        if transaction.authorizer is not None and transaction.authorizer.denied:
            # SQLite has rolled back, and the authorizer has denied every later statement.
            return self._denied(transaction.authorizer.denied)
        try:
            # Alembic may have written the next version into a transaction that will not be kept.
            self.connection.connection.rollback()
            heads = ", ".join(context.get_context().get_current_heads()) or "no version"
        # The connection is lost; the driver raises errors of its own.
        except (SQLAlchemyError, self.connection.dialect.loaded_dbapi.Error):
            self.connection.invalidate()  # else the error of its rollback would hide this one
            heads = "an unknown revision, because it cannot be read now"
        return MigrationHalfApplied(
            f"{self.target}: revision {self._revision} has ended the transaction of the upgrade by "
            "itself. Changes made until then may be committed: the database is at "
            f"{heads}, and may also contain parts of {self._revision}. {self.backup}. Restore it, "
            "or undo those parts, and report the revision"
        )
