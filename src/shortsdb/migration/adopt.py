"""Adoption: gives an unversioned SQLite database the revision whose shape it has."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from alembic.script.revision import RangeNotAncestorError
from alembic.util import CommandError

from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.shape import (
    Shape,
    misfits,
    missing_indexes,
    read_shape,
    shape_of_script,
    table_names,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

log = logging.getLogger(__name__)


def adopt(
    context: MigrationContext, script: ScriptDirectory, shapes: Mapping[str, str], name: str
) -> None:
    """Stamp the database if it is unversioned and about to be upgraded.

    An alembic_version table without a row is what a failed first upgrade of another environment
    leaves behind: unversioned too. Writes within the transaction that the upgrade runs in.

    Args:
        context: The migration, configured, its transaction begun.
        script: The revisions.
        shapes: The DDL script of every revision that unversioned databases are known to have.
        name: What to call the database in messages.

    Raises:
        MigrationRefused: The database is unversioned and has none of the shapes, or is to be
            downgraded.
    """
    if context.get_current_heads():
        return
    if not _is_upgraded(context, name):
        return
    connection = context.connection
    assert connection is not None  # noqa: S101 - online, or there would be no transaction
    found = recognise(connection, shapes, context.version_table, name)
    if found is None:
        log.info("%s is new: creating the schema from the first revision", name)
        return
    revision, shape = found
    log.info(
        "%s has no version; its tables are those of revision %s (%s): adopting it there as it is",
        name,
        revision,
        ", ".join(shape),
    )
    for index in missing_indexes(shape, read_shape(connection, shape)):
        log.warning("%s lacks the index %s: CREATE INDEX makes its queries fast again", name, index)
    context.stamp(script, revision)


def _is_upgraded(context: MigrationContext, name: str) -> bool:
    """Return whether the command would upgrade a database without a version; stamp would not.

    Raises:
        MigrationRefused: It would downgrade.
    """
    # Alembic tells env.py the destination but not the command; the steps it plans tell both.
    plan = context._migrations_fn  # noqa: SLF001 - there is no public way to ask for them
    assert plan is not None  # noqa: S101 - every command has one
    downgrade = MigrationRefused(
        f"{name} has no version, so there is nothing to downgrade; nothing was changed. "
        "If it is a deployed database, run upgrade: that recognises it"
    )
    try:
        steps = list(plan((), context))
    except CommandError as error:
        if isinstance(error.__cause__, RangeNotAncestorError):
            raise downgrade from error
        raise
    if not steps:
        raise downgrade
    return any(step.info.is_upgrade and not step.info.is_stamp for step in steps)


def recognise(
    connection: Connection, shapes: Mapping[str, str], version_table: str, name: str
) -> tuple[str, Shape] | None:
    """Return the revision whose shape an unversioned database has, and the shape.

    None for a database without any table.

    Raises:
        MigrationRefused: It holds tables and fits no known shape; every table and column at fault
            is named.
    """
    tables = [table for table in table_names(connection) if table != version_table]
    if not tables:
        return None
    known = {revision: shape_of_script(script) for revision, script in shapes.items()}
    ours = {table for shape in known.values() for table in shape}
    held = ours.intersection(tables)
    # The smallest shape that has all of the tables found is the one that was meant.
    revision, shape = min(
        ((revision, shape) for revision, shape in known.items() if held <= shape.keys()),
        key=lambda candidate: len(candidate[1]),
    )
    faults = misfits(shape, read_shape(connection, held))
    if faults:
        others = [table for table in tables if table not in ours]
        raise MigrationRefused(
            f"{name} has no version and does not fit the schema that its tables suggest "
            f"(revision {revision}): {'; '.join(faults)}. "
            + (f"It holds tables of other software: {', '.join(others)}. " if others else "")
            + "Nothing was changed. Check that this is the right file; if it is, mend these "
            "differences and run upgrade again"
        )
    return revision, shape
