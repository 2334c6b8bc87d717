"""Recognises an unversioned SQLite database by its shape, and says what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shortsdb.log import get_logger
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.shape import (
    misfits,
    missing_indexes,
    read_shape,
    shape_of_script,
    table_names,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

log = get_logger(__name__)


def recognise(
    connection: Connection, shapes: Mapping[str, str], version_table: str, name: str
) -> str | None:
    """Return the revision whose shape an unversioned database has, None if it has no table.

    Args:
        connection: The database.
        shapes: The DDL script of every revision that unversioned databases are known to have.
        version_table: The table that is not looked at.
        name: What to call the database in messages.

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
    faults += [
        f"the name {taken} is that of a {kind}"
        for taken, kind in connection.exec_driver_sql(
            "SELECT name, type FROM sqlite_master WHERE type <> 'table' ORDER BY name"
        ).all()
        if taken in ours
    ]
    if faults:
        others = [table for table in tables if table not in ours]
        raise MigrationRefused(
            f"{name} has no version and does not fit the schema that its tables suggest "
            f"(revision {revision}): {'; '.join(faults)}. "
            + (f"It holds tables of other software: {', '.join(others)}. " if others else "")
            + "Check that this is the right file; if it is, mend these differences before an "
            "upgrade"
        )
    return revision


def report_adoption(connection: Connection, revision: str, script: str, name: str) -> None:
    """Log that a database is adopted at `revision`, whose DDL is `script`, and what it lacks."""
    shape = shape_of_script(script)
    log.info(
        "%s has no version; its tables are those of revision %s (%s): adopting it there as it is",
        name,
        revision,
        ", ".join(shape),
    )
    for index in missing_indexes(shape, read_shape(connection, shape)):
        log.warning("%s lacks the index %s: CREATE INDEX makes its queries fast again", name, index)
