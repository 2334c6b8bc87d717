"""Runs the revisions of a plan one by one, and says which one is at fault and what is left."""

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
    """A revision has committed by itself; the message says what the database is now."""


class RevisionRun:
    """One run of the revisions of a plan."""

    def __init__(
        self,
        connection: Connection,
        plan: Plan,
        target: Target,
        *,
        backup: str,
        checks: RebuildChecks | None = None,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            connection: The database, in the transaction that all revisions run in.
            plan: What will be done.
            target: The database.
            backup: A sentence that says where it is.
            checks: What is compared after each revision, on SQLite.
        """
        self.connection = connection
        self.plan = plan
        self.target = target
        self.backup = backup
        self.checks = checks
        self._done = 0

    def run(self) -> None:
        """Run them all.

        Raises:
            MigrationRefused: A revision is at fault, and nothing was changed.
            MigrationHalfApplied: A revision is at fault, and has committed something.
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
            # Whatever the error is, what was denied before it is the reason.
            if transaction.ended:
                raise self._ended(transaction) from error
            if transaction.denied:
                raise self._denied(transaction.denied) from error
            if isinstance(error, self.connection.dialect.loaded_dbapi.Error):
                # By a cursor of the driver's own; SQLAlchemy's are explained by the caller.
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
        """The revision that is at fault, if one is: that which runs now."""
        return self.plan.revisions[min(self._done, len(self.plan.revisions) - 1)]

    def _denied(self, what: str) -> MigrationRefused:
        return MigrationRefused(
            f"{self.target}: revision {self._revision} runs {what}, and no revision may end, "
            "change or leave the one transaction of an upgrade; nothing was changed. Take it out "
            "(autocommit_block, commit, executescript, COMMIT), or report the revision"
        )

    def _ended(self, transaction: OneTransaction) -> MigrationRefused:
        if transaction.authorizer is not None and transaction.authorizer.denied:
            # SQLite has rolled back, and nothing was let through after it.
            return self._denied(transaction.authorizer.denied)
        try:
            heads = ", ".join(context.get_context().get_current_heads()) or "no version"
        except SQLAlchemyError:  # of a lost connection, not the driver's
            heads = "what cannot be read now"
        return MigrationHalfApplied(
            f"{self.target}: revision {self._revision} has ended the transaction of the upgrade by "
            "itself. What was done until then may be kept: the database says that it is at "
            f"{heads}, and may hold parts of {self._revision} besides. {self.backup}. Restore it, "
            "or undo those parts, and report the revision"
        )
