"""Changes a SQLite database: plans, backs up, runs the revisions in one transaction, checks."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import context

from shortsdb.driver_errors import UNCERTAIN
from shortsdb.log import get_logger
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.history import record
from shortsdb.migration.rebuild_checks import RebuildChecks
from shortsdb.migration.revision_run import MigrationHalfApplied, RevisionRun
from shortsdb.migration.transaction import ReadersInTheWay, begin, commit, wait_for_readers
from shortsdb.settings import lock_timeout
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.backup_files import backups_of, folder_for, keep_newest
from shortsdb.sqlite.file_checks import refuse_without_space
from shortsdb.sqlite.rows import holds_rows
from shortsdb.sqlite.schema import table_names
from shortsdb.sqlite.version import BOOKKEEPING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from shortsdb.migration.plan import Plan, Planner

log = get_logger(__name__)

_STALL_SECONDS = 1.0  # writers of deployed code give up after 5


class SQLiteMigration:
    """One upgrade, downgrade or stamp of one SQLite database."""

    file: Path | None  # since the plan was made; None for a database in memory

    def __init__(self, connection: Connection, planner: Planner, backup: str | None) -> None:
        """Prepare, once `context.configure` was called; nothing is read yet.

        Args:
            connection: The database.
            planner: What plans the command.
            backup: Where backups go, see `backup_files.folder_for`.
        """
        self.connection = connection
        self.planner = planner
        self.target = planner.target
        self.setting = backup
        self.backup: Path | None = None
        self.seconds = 0.0  # that the backup took
        self.locked_at = 0.0  # since when others cannot write, by time.monotonic

    def run(self, *, begins: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Do it all, and return the versions before and after.

        The copy is made before the lock is taken, so that the application goes on writing
        meanwhile. If it has written something, a copy that is quickly made is made again under the
        lock, and is then exactly what the revisions found. One that takes longer is kept as it is:
        making writers wait that long would lose more than it saves.

        Args:
            begins: Whether the transaction is ours to begin; it may be the caller's.

        Raises:
            MigrationRefused: Nothing was changed; the message says why.
        """
        begun = time.monotonic()
        try:
            seen = self._copy_unlocked() if begins else None
            before, after = self._run_beside_readers(seen, begun, begins=begins)
        except Exception as error:
            # Where the database is as it was for certain, another copy of it is no use.
            code = str(getattr(getattr(error, "orig", None), "sqlite_errorname", ""))
            certain = not code.startswith((*UNCERTAIN, "SQLITE_CORRUPT"))
            if certain and not isinstance(error, MigrationHalfApplied):
                self._discard_backup()
            raise

        if self.backup is not None and self.file is not None:
            keep_newest(self.file, self.backup)
        return before, after

    def _run_beside_readers(
        self, seen: int | None, begun: float, *, begins: bool
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Run the transaction, and again after readers that keep it from being committed."""
        give_up = None
        while True:
            try:
                return self._run_transaction(seen, begun, begins=begins)
            except ReadersInTheWay as error:
                now = time.monotonic()
                give_up = give_up or now + lock_timeout()
                if not wait_for_readers(now - self.locked_at, give_up):
                    raise MigrationRefused(
                        f"{self.target} is read by another process for longer than "
                        f"{lock_timeout():g} s (SHORTSDB_LOCK_TIMEOUT), and with a rollback "
                        "journal nothing can be committed meanwhile; nothing was changed. Find "
                        "out which process it is, or try again when that has ended"
                    ) from error
                log.info("%s was read by another process: trying again", self.target)

    def _run_transaction(
        self, seen: int | None, begun: float, *, begins: bool
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        with context.begin_transaction():
            if begins:
                # Before anything is read: a second upgrade waits here.
                begin(self.connection, "BEGIN IMMEDIATE")
            self.locked_at = time.monotonic()
            plan = self._plan()
            self._settle_backup(plan, outdated=self._data_version() != seen)
            self._apply(plan, begins=begins)
            after = context.get_context().get_current_heads()
            times = {"begun": begun, "locked": self.locked_at}
            record(self.connection, plan, after, **times, backup=self.backup)
            if begins:
                commit(self.connection)
        return plan.heads, after

    def _copy_unlocked(self) -> int:
        """Make the backup, if one is needed, and return the data version that it is of."""
        with self.connection.begin():
            begin(self.connection, "BEGIN")
            plan = self._plan()
            seen = self._data_version()
            needed = self._needs_backup(plan)
        if needed:
            self._make_backup(plan)
        return seen

    def _settle_backup(self, plan: Plan, *, outdated: bool) -> None:
        """Have the backup that the plan needs, now that nobody else can write."""
        if not self._needs_backup(plan):
            self._discard_backup()
            return
        if self.backup is not None and outdated:
            if self.seconds < _STALL_SECONDS:
                self._discard_backup()
            else:
                log.warning(
                    "%s was written to after the backup was begun: the last %.0f s are not in it",
                    self.target,
                    self.seconds,
                )
        if self.backup is None:
            self._make_backup(plan)
        if self.backup is None:
            log.warning(
                "%s: backup disabled: the data is not checked for corruption", self.target.name
            )

    def _plan(self) -> Plan:
        # As bytes: a path need not be UTF-8.
        path = self.connection.exec_driver_sql(
            "SELECT CAST(file AS BLOB) FROM pragma_database_list WHERE name = 'main'"
        ).scalar()
        self.file = Path(os.fsdecode(path)) if path else None
        return self.planner.plan()

    def _data_version(self) -> int:
        """Return a number that is another one when somebody else has committed something."""
        return int(self.connection.exec_driver_sql("PRAGMA data_version").scalar_one())

    def _needs_backup(self, plan: Plan) -> bool:
        if not plan.revisions or self.file is None:
            return False
        database = self.connection.connection
        return holds_rows(database, set(table_names(database)) - BOOKKEEPING)

    def _make_backup(self, plan: Plan) -> None:
        assert self.file is not None  # noqa: S101 - _needs_backup has said so
        folder = folder_for(self.file, self.setting)
        if folder is None:
            refuse_without_space(self.file, None, 0)
        else:
            begun = time.monotonic()
            revision = next(iter(plan.heads), plan.stamp)
            self.backup = make_backup(self.file, revision, folder, plan.action)
            self.seconds = time.monotonic() - begun

    def _discard_backup(self) -> None:
        if self.backup is not None:
            self.backup.unlink(missing_ok=True)
            self.backup = None

    def _apply(self, plan: Plan, *, begins: bool) -> None:
        migration = context.get_context()
        self.planner.start(plan)
        if not plan.heads and plan.stamp is None:
            self._warn_of_backups()
        if plan.revisions:
            file = self.file if begins else None  # which others see as it was before
            checks = RebuildChecks(self.connection, migration.version_table, self.target, file)
            kept = f"The backup of before is {self.backup}" if self.backup else "There is no backup"
            RevisionRun(self.connection, plan, self.target, backup=kept, checks=checks).run()
        else:
            context.run_migrations()

    def _warn_of_backups(self) -> None:
        """Warn that a database which is new has backups: its disk may not be mounted."""
        folder = folder_for(self.file, self.setting) if self.file else None
        with suppress(OSError):  # the user may not read the folder
            if self.file and folder and (there := backups_of(self.file, folder)):
                log.warning(
                    "%s is new, but %s is a backup of a database at this path: check that its disk "
                    "is mounted, or restore that backup",
                    *(self.target, there[-1]),
                )
