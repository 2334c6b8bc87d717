"""Plans what a command will do to a SQLite database, and refuses what must not be touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alembic.script.revision import RangeNotAncestorError
from alembic.util import CommandError
from sqlalchemy import exists, literal, select
from sqlalchemy import table as sql_table

from shortsdb.log import get_logger
from shortsdb.migration.errors import MigrationRefused
from shortsdb.sqlite.baseline import recognise, refuse_leftovers
from shortsdb.sqlite.schema import schema_of_script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

log = get_logger(__name__)


@dataclass(frozen=True)
class Plan:
    """What will be done: the revision to stamp first, if any, and the revisions to run after it."""

    heads: tuple[str, ...]
    stamp: str | None
    revisions: tuple[str, ...] = ()

    @property
    def action(self) -> str:
        """What it is: an upgrade, a downgrade or a stamp."""
        if not self.revisions:
            return "stamp"
        return "downgrade" if self.revisions[:1] == self.heads else "upgrade"

    @property
    def creates(self) -> bool:
        """Whether there is nothing of ours yet, so that the schema is created."""
        return bool(self.revisions) and not self.heads and self.stamp is None


def announce_new(plan: Plan, name: str, *, creates: bool) -> None:
    """Log that a database is new, which may not be what was meant.

    Args:
        plan: What will be done.
        name: What to call the database.
        creates: Whether that is allowed.

    Raises:
        MigrationRefused: It is not.
    """
    if not plan.creates:
        return
    if not creates:
        raise no_database(name)
    log.warning("%s is new: creating the schema from the first revision", name)


def no_database(name: str) -> MigrationRefused:
    """Return the refusal to create a database where one must exist."""
    return MigrationRefused(
        f"{name} does not exist or has no tables, and must exist (--must-exist, "
        "SHORTSDB_MUST_EXIST); nothing was created. Check the path, and that its disk is mounted; "
        "the first time, run the upgrade without that"
    )


def make_plan(
    context: MigrationContext, script: ScriptDirectory, baselines: Mapping[str, str], name: str
) -> Plan:
    """Return what the command will do to the database as it is in this transaction. Writes nothing.

    An alembic_version table without a row is what a failed first upgrade of another environment
    leaves behind: unversioned too.

    Args:
        context: The migration, configured, in a transaction.
        script: The revisions.
        baselines: The DDL script of every revision that unversioned databases are known to have.
        name: What to call the database in messages.

    Raises:
        MigrationRefused: The database is not what its version says, has a strange version, or is
            unversioned and has none of the baselines, or is to be downgraded.
    """
    heads = context.get_current_heads()
    if context.opts.get("purge"):  # `alembic stamp --purge` is the way out of a strange version
        return Plan(heads, stamp=None)
    assert context.connection is not None  # noqa: S101 - there is a transaction
    refuse_leftovers(context.connection.connection, name)
    refuse_strange_version(heads, script, name)
    steps = _steps(context, heads, name)
    _refuse_to_drop_rows(context.connection, steps, baselines)
    revisions = _revisions_of(steps)
    if heads or not revisions:
        return Plan(heads, None, revisions)
    stamp = recognise(context.connection.connection, baselines, context.version_table, name)
    if stamp is not None:
        revisions = planned_revisions(context, (stamp,), name)
    return Plan(heads, stamp, revisions)


def planned_revisions(
    context: MigrationContext, heads: tuple[str, ...], name: str
) -> tuple[str, ...]:
    """Return the revisions that the command will run, up or down, in their order.

    Args:
        context: The migration, configured.
        heads: What the version table says.
        name: What to call the database in messages.

    Raises:
        MigrationRefused: The database has no version and is to be downgraded.
    """
    return _revisions_of(_steps(context, heads, name))


def _revisions_of(steps: list[RevisionStep]) -> tuple[str, ...]:
    return tuple(
        step.info.up_revision_id
        for step in steps
        if not step.info.is_stamp and step.info.up_revision_id is not None
    )


def _steps(context: MigrationContext, heads: tuple[str, ...], name: str) -> list[RevisionStep]:
    # Alembic tells env.py the destination but not the command; the steps it plans tell both.
    plan = context.opts["fn"]
    assert plan is not None  # noqa: S101 - every command has one
    try:
        steps = list(plan(heads, context))
    except CommandError as error:
        if isinstance(error.__cause__, RangeNotAncestorError):
            refuse_unversioned(heads, name)
        raise
    if not steps:
        refuse_unversioned(heads, name)
    return steps


def _refuse_to_drop_rows(
    connection: Connection, steps: list[RevisionStep], baselines: Mapping[str, str]
) -> None:
    """Refuse to downgrade below the first revision before anything is copied or changed.

    Raises:
        MigrationRefused: One of its tables holds rows.
    """
    for step in steps:
        first = step.info.up_revision_id or ""
        if step.info.is_stamp or step.info.is_upgrade or step.info.destination_revision_ids:
            continue
        tables = schema_of_script(baselines[first]) if first in baselines else {}
        if held := [table for table in tables if not _is_empty(connection, table)]:
            raise MigrationRefused(
                f"downgrade below {first} would drop {', '.join(held)} with the rows in it; "
                f"nothing was changed. To go back to the deployed schema, downgrade to {first}; "
                "to start over, delete the database yourself"
            )


def _is_empty(connection: Connection, table: str) -> bool:
    return not connection.scalar(select(exists(select(literal(1)).select_from(sql_table(table)))))


def refuse_unversioned(heads: tuple[str, ...], name: str) -> None:
    """Refuse to downgrade a database that has no version.

    Args:
        heads: What its version table says.
        name: What to call it in messages.

    Raises:
        MigrationRefused: It has none.
    """
    if not heads:
        raise MigrationRefused(
            f"{name} has no version, so there is nothing to downgrade; nothing was changed. "
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


def refuse_strange_version(heads: tuple[str, ...], script: ScriptDirectory, name: str) -> None:
    """Refuse a database whose version is not one of this release.

    Args:
        heads: What its version table says.
        script: The revisions.
        name: What to call it in messages.

    Raises:
        MigrationRefused: It has several versions, a newer one, or one of other software.
    """
    if len(heads) > 1:
        raise MigrationRefused(
            f"{name} has {len(heads)} versions ({', '.join(sorted(map(str, heads)))}) where there "
            "can be one; nothing was changed. Restore the last backup, or find out which one is "
            "true and run `shortsdb stamp REVISION --purge`"
        )
    known = known_revisions(script)
    for version in map(str, heads):  # other software may store a number
        if version in known:
            continue
        newest = known[0]
        if version.isdecimal() and len(version) == len(newest) and version > newest:
            raise MigrationRefused(
                f"{name} is at revision {version}, and this release knows none after {newest}: "
                "newer code made it. Nothing was changed. Upgrade the package, or restore the "
                "backup that was made before that upgrade"
            )
        raise MigrationRefused(
            f"{name} is at revision {version!r}, which is not a revision of this release: its "
            "alembic_version belongs to other software. Nothing was changed. Check that this is "
            "the right file"
        )
