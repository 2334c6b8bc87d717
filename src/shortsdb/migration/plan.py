"""Plans what a command will do to a database, and refuses what must not be touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alembic.script.revision import RangeNotAncestorError
from alembic.util import CommandError
from sqlalchemy import exists, func, literal, select, text
from sqlalchemy import table as sql_table

from shortsdb.log import get_logger
from shortsdb.migration import postgresql_schema
from shortsdb.migration.errors import MigrationRefused
from shortsdb.sqlite.baseline import recognise, refuse_leftovers
from shortsdb.sqlite.schema import (
    missing_indexes,
    nullable_columns,
    read_schema,
    schema_of_script,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

    from shortsdb.target import Target

log = get_logger(__name__)

_OTHER_SCHEMA = text(
    "SELECT nspname, current_schema() FROM pg_class"
    " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE pg_class.oid = to_regclass(:table) AND nspname IS DISTINCT FROM current_schema()"
)


@dataclass(frozen=True)
class Plan:
    """What will be done: the revision to stamp first, if any, and the steps to run after it."""

    heads: tuple[str, ...]
    stamp: str | None
    steps: tuple[RevisionStep, ...] = ()

    @property
    def action(self) -> str:
        """What it is: an upgrade, a downgrade or a stamp."""
        if not self.steps:
            return "stamp"
        return "upgrade" if self.steps[0].info.is_upgrade else "downgrade"

    @property
    def revisions(self) -> tuple[str, ...]:
        """The revisions to run, up or down, in their order."""
        return tuple(step.info.up_revision_id or "" for step in self.steps)


def no_database(target: Target) -> MigrationRefused:
    """Return the refusal to create a database where one must exist."""
    return MigrationRefused(
        f"{target} does not exist or has no tables, and must exist (--must-exist, "
        "SHORTSDB_MUST_EXIST); nothing was created. Check the path, and that its disk is mounted; "
        "the first time, run the upgrade without that"
    )


def would_drop(first: str, held: list[str]) -> MigrationRefused:
    """Return the refusal to downgrade below the revision `first`, whose tables `held` hold rows."""
    return MigrationRefused(
        f"downgrade below {first} would drop {', '.join(held)} with the rows in it; nothing was "
        f"changed. To go back to the deployed schema, downgrade to {first}; to start over, delete "
        "the database yourself"
    )


class Planner:
    """Plans what a command does to one database, in the transaction that it is to be done in."""

    def __init__(
        self,
        context: MigrationContext,
        target: Target,
        baselines: Mapping[str, str],
        *,
        creates: bool,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            context: The migration, configured by Alembic's environment.
            target: The database.
            baselines: The DDL script of every revision that unversioned databases are known to
                have.
            creates: Whether a database without tables may be made ours.
        """
        self.creates = creates
        self.context = context
        self.target = target
        self.baselines = baselines

    def plan(self) -> Plan:
        """Return what the command will do to the database as it is now. Writes nothing.

        An alembic_version table without a row is what a failed first upgrade of another environment
        leaves behind: unversioned too.

        Raises:
            MigrationRefused: The database is not what its version says, has a strange version, or
                is unversioned and has none of the baselines, or is to be downgraded.
        """
        heads = self.context.get_current_heads()
        if self.context.opts.get("purge"):  # `stamp --purge` is the way out of a strange version
            return Plan(heads, stamp=None)
        on_sqlite = self.context.dialect.name == "sqlite"
        if on_sqlite:
            refuse_leftovers(self._connection.connection, self.target.name)
        else:
            self._refuse_other_schema()
        refuse_strange_version(heads, self.context.opts["script"], self.target)
        steps = self._steps(heads)
        self._refuse_to_drop_rows(steps)
        if heads or not steps:
            return Plan(heads, None, steps)
        name = self.target.name
        if on_sqlite:
            driver, version_table = self._connection.connection, self.context.version_table
            stamp = recognise(driver, self.baselines, version_table, name)
        else:
            stamp = postgresql_schema.recognise(self._connection, self.baselines, name)
        return Plan(heads, stamp, steps if stamp is None else self._steps((stamp,)))

    def start(self, plan: Plan) -> None:
        """Adopt a database that was recognised, or log that it is new, which may be a mistake.

        Raises:
            MigrationRefused: It is new, and must not be.
        """
        in_memory = self.context.dialect.name == "sqlite" and self.target.file is None
        if plan.stamp is not None:
            self._adopt(plan.stamp)
        elif plan.steps and not plan.heads and not in_memory:
            if not self.creates:
                raise no_database(self.target)
            log.warning("%s is new: creating the schema from the first revision", self.target)

    def _adopt(self, revision: str) -> None:
        """Stamp the database with the revision that it was recognised as, and say what it lacks."""
        if self.context.dialect.name == "sqlite":
            shape = schema_of_script(self.baselines[revision])
            found = read_schema(self._connection.connection, shape)
        else:
            shape = postgresql_schema.schema_of_baseline(self.baselines[revision])
            found = postgresql_schema.read_schema(self._connection, shape)
        log.info(
            "%s has no version; its tables are those of revision %s (%s): adopting it there as it "
            "is",
            *(self.target, revision, ", ".join(shape)),
        )
        for table, column in nullable_columns(shape, found):
            log.warning(
                "%s: the column %s.%s may be NULL where NOT NULL belongs; no row has a NULL there, "
                "and nothing keeps one out",
                *(self.target, table, column),
            )
        for index in missing_indexes(shape, found):
            log.warning(
                "%s lacks the index %s: CREATE INDEX makes its queries fast again",
                *(self.target, index),
            )
        self.context.stamp(self.context.opts["script"], revision)

    def _refuse_other_schema(self) -> None:
        """Refuse a version that is not of the schema in which new tables would be.

        Raises:
            MigrationRefused: The search_path leads to another installation.
        """
        refuse_other_search_path(self._connection, self.target)
        found = self._connection.execute(
            _OTHER_SCHEMA, {"table": self.context.version_table}
        ).one_or_none()
        if found is not None:
            raise MigrationRefused(
                f"{self.target}: the search_path leads to the version of the schema "
                f"{found.nspname}, and new tables would be in {found.current_schema}; nothing was "
                "changed. Name the schema: --schema NAME, or SHORTSDB_SCHEMA"
            )

    @property
    def _connection(self) -> Connection:
        assert self.context.connection is not None  # noqa: S101 - there is a transaction
        return self.context.connection

    def _steps(self, heads: tuple[str, ...]) -> tuple[RevisionStep, ...]:
        # Alembic tells env.py the destination but not the command; the steps it plans tell both.
        plan = self.context.opts["fn"]
        assert plan is not None  # noqa: S101 - every command has one
        try:
            steps = list(plan(heads, self.context))
        except CommandError as error:
            if isinstance(error.__cause__, RangeNotAncestorError):
                refuse_unversioned(heads, self.target)
            raise
        if not steps:
            refuse_unversioned(heads, self.target)
        return tuple(step for step in steps if not step.info.is_stamp and step.info.up_revision_id)

    def _refuse_to_drop_rows(self, steps: tuple[RevisionStep, ...]) -> None:
        """Refuse to downgrade below the first revision before anything is copied or changed.

        Raises:
            MigrationRefused: One of its tables holds rows.
        """
        for step in steps:
            first = step.info.up_revision_id or ""
            if step.info.is_upgrade or step.info.destination_revision_ids:
                continue
            tables = schema_of_script(self.baselines[first]) if first in self.baselines else {}
            if held := [table for table in tables if not self._is_empty(table)]:
                raise would_drop(first, held)

    def _is_empty(self, table: str) -> bool:
        found = exists(select(literal(1)).select_from(sql_table(table)))
        return not self._connection.scalar(select(found))


def runs_alone(script: ScriptDirectory, revision: str) -> bool:
    """Return whether a revision cannot run in a transaction on PostgreSQL, as it declares.

    Such as CREATE INDEX CONCURRENTLY, which lets others write meanwhile. On SQLite there is no such
    statement, and the revision runs in the one transaction like any other.
    """
    return not getattr(script.get_revision(revision).module, "transactional", True)


def refuse_other_search_path(connection: Connection, target: Target) -> None:
    """Refuse a connection handed in whose tables are not in the schema that was named with it.

    Args:
        connection: The database, in a transaction. The search_path of a connection of ours is set.
        target: The database, and perhaps the schema.

    Raises:
        MigrationRefused: The tables are in another schema.
    """
    if target.schema is None:
        return
    found = connection.scalar(select(func.current_schema()))
    if found not in {None, target.schema}:  # None: the schema is not there yet
        raise MigrationRefused(
            f"{target}: the search_path of the connection handed in leads to the schema {found}; "
            "nothing was changed. Set it, or hand in no connection but the URL"
        )


def refuse_unversioned(heads: tuple[str, ...], target: Target) -> None:
    """Refuse to downgrade a database that has no version.

    Args:
        heads: What its version table says.
        target: The database.

    Raises:
        MigrationRefused: It has none.
    """
    if not heads:
        raise MigrationRefused(
            f"{target} has no version, so there is nothing to downgrade; nothing was changed. "
            "If it is a deployed database, run upgrade: that recognises it"
        )


def known_revisions(script: ScriptDirectory) -> list[str]:
    """Return the ids of all revisions, newest first."""
    return [revision.revision for revision in script.walk_revisions()]


def refuse_several_heads(script: ScriptDirectory) -> None:
    """Refuse revisions that do not follow one another in one line.

    Raises:
        MigrationRefused: There is more than one newest revision.
    """
    heads = script.get_heads()
    if len(heads) > 1:
        raise MigrationRefused(
            f"there are {len(heads)} newest revisions ({', '.join(sorted(heads))}), and an upgrade "
            "goes to one; nothing was changed. Let one of them follow the other (down_revision)"
        )


def refuse_strange_version(heads: tuple[str, ...], script: ScriptDirectory, target: Target) -> None:
    """Refuse a database whose version is not one of this release.

    Args:
        heads: What its version table says.
        script: The revisions.
        target: The database.

    Raises:
        MigrationRefused: It has several versions, a newer one, or one of other software.
    """
    if len(heads) > 1:
        raise MigrationRefused(
            f"{target} has {len(heads)} versions ({', '.join(sorted(map(str, heads)))}) where "
            "there can be one; nothing was changed. Restore the last backup, or find out which "
            "one is true and run `shortsdb stamp REVISION --purge`"
        )
    known = known_revisions(script)
    for version in set(map(str, heads)).difference(known):  # other software may store a number
        newest = known[0]
        if version.isdecimal() and len(version) == len(newest) and version > newest:
            raise MigrationRefused(
                f"{target} is at revision {version}, and this release knows none after {newest}: "
                "newer code made it. Nothing was changed. Upgrade the package, or restore the "
                "backup that was made before that upgrade"
            )
        raise MigrationRefused(
            f"{target} is at revision {version!r}, which is not a revision of this release: its "
            "alembic_version belongs to other software. Nothing was changed. Check that this is "
            "the right database"
        )
