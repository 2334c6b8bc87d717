"""Recognise the revision of an unversioned database by its schema."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from shortsdb.errors import OperationRefused
from shortsdb.sqlite.connection import rows, values
from shortsdb.sqlite.history import HISTORY_TABLE
from shortsdb.sqlite.rows import quote
from shortsdb.sqlite.schema import (
    Schema,
    nullable_columns,
    read_schema,
    schema_mismatches,
    schema_of_script,
    table_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from shortsdb.sqlite.connection import Connection


def recognise(
    connection: Connection, baselines: Mapping[str, str], version_table: str, name: str
) -> str | None:
    """Return the revision whose schema an unversioned database has, None if it has no table.

    Args:
        connection: The database.
        baselines: The DDL script of each revision that an unversioned database may have.
        version_table: Alembic's version table, which is ignored.
        name: The name of the database in messages.

    Raises:
        OperationRefused: See `fitting_revision` and `refuse_leftovers`.
    """
    refuse_leftovers(connection, name)
    tables = [table for table in table_names(connection) if table != version_table]
    known = {revision: schema_of_script(script) for revision, script in baselines.items()}
    taken = _names_taken(connection, {table for shape in known.values() for table in shape})

    def faults(shape: Schema, held: Collection[str]) -> list[str]:
        found = read_schema(connection, held)
        return [
            *schema_mismatches(shape, found),
            *null_mismatches(shape, found, partial(_rows_with_null, connection)),
            *taken,
        ]

    return fitting_revision(tables, known, faults, name)


def fitting_revision(
    tables: Collection[str],
    known: Mapping[str, Schema],
    faults: Callable[[Schema, Collection[str]], list[str]],
    name: str,
) -> str | None:
    """Return the revision whose schema the tables of a database have, None if it has no table.

    Args:
        tables: The names of the tables.
        known: The schema of each revision that an unversioned database may have.
        faults: Returns the differences between a schema and the tables that have the given names.
        name: The name of the database in messages.

    Raises:
        OperationRefused: The tables fit no known schema (the message names every table and column
            at fault), or fit several equally well.
    """
    tables = [table for table in tables if table != HISTORY_TABLE]
    if not tables:
        return None
    ours = {table for shape in known.values() for table in shape}
    held = ours.intersection(tables)
    others = [table for table in tables if table not in ours]
    # A schema without tables would fit any database.
    candidates = [revision for revision, shape in known.items() if shape and held <= shape.keys()]
    if not candidates:
        raise OperationRefused(
            f"{name} has no version, and no known schema contains all of its tables "
            f"({', '.join(tables)}); nothing was changed. Check that this is the right database"
        )
    found = {revision: faults(known[revision], held) for revision in candidates}
    fitting = [revision for revision in candidates if not found[revision]]
    if not fitting:
        # The smallest schema that contains all of the tables is the most likely one.
        revision = min(candidates, key=lambda candidate: len(known[candidate]))
        raise OperationRefused(
            f"{name} has no version and does not fit the schema that its tables suggest "
            f"(revision {revision}): {'; '.join(found[revision])}. "
            + (f"It holds tables of other software: {', '.join(others)}. " if others else "")
            + "Check that this is the right database; if it is, remove these differences before an "
            "upgrade"
        )
    # A database that fits a schema also fits every schema that asks for less.
    best = [
        revision
        for revision in fitting
        if not any(_asks_for_more(known[other], known[revision]) for other in fitting)
    ]
    if len(best) > 1:
        raise OperationRefused(
            f"{name} has no version, and its tables fit the revisions {', '.join(best)} equally; "
            "nothing was changed. Find out which one is right and run `shortsdb stamp REVISION`"
        )
    return best[0]


def null_mismatches(
    shape: Schema, found: Schema, rows_with_null: Callable[[str, str], int]
) -> list[str]:
    """Return a phrase for each column that is NOT NULL in `shape` but NULL in some row."""
    return [
        f"column {table}.{column} may be NULL where NOT NULL belongs, and is in {nulls} rows"
        for table, column in nullable_columns(shape, found)
        if (nulls := rows_with_null(table, column))
    ]


def undecodable_name(name: str) -> OperationRefused:
    """Return the error for a database with a name that is not UTF-8.

    The sqlite3 module raises UnicodeDecodeError when SQLite reports such a name in an error.
    """
    return OperationRefused(
        f"{name} holds an object whose name is not UTF-8: its schema is damaged, or somebody has "
        "edited sqlite_master. Nothing was changed. Restore the last backup, or salvage what is "
        "left with the sqlite3 program's .recover"
    )


def refuse_leftovers(connection: Connection, name: str) -> None:
    """Refuse a database with damaged names or the leftovers of an interrupted rebuild.

    Args:
        connection: The database.
        name: The name of the database in messages.

    Raises:
        OperationRefused: The name of an object is not text, or a table rebuild was interrupted.
    """
    strange = values(connection, "SELECT name FROM sqlite_master WHERE typeof(name) <> 'text'")
    if strange:
        raise OperationRefused(
            f"{name} holds an object whose name is {strange[0]!r}, not text: somebody has edited "
            "sqlite_master. Nothing was changed. Restore the last backup, or salvage what is left "
            "with the sqlite3 program's .recover"
        )
    prefix = "_alembic_tmp_"
    left = [table for table in table_names(connection) if table.startswith(prefix)]
    if left:
        raise OperationRefused(
            f"{name} holds {', '.join(left)}: the rebuild of a table by another tool was "
            "interrupted. Nothing was changed. Compare with "
            f"{', '.join(table.removeprefix(prefix) for table in left)}: keep the table that has "
            "all rows, under the name without the prefix, drop the other and run this again"
        )


def _rows_with_null(connection: Connection, table: str, column: str) -> int:
    sql = f"SELECT count(*) FROM {quote(table)} WHERE {quote(column)} IS NULL"  # noqa: S608 - quoted
    return int(values(connection, sql)[0])


def _names_taken(connection: Connection, ours: Collection[str]) -> list[str]:
    return [
        f"the name {taken} is that of a {kind}"
        for taken, kind in rows(
            connection, "SELECT name, type FROM sqlite_master WHERE type <> 'table' ORDER BY name"
        )
        if taken in ours
    ]


def _asks_for_more(one: Schema, other: Schema) -> bool:
    """Return whether every database that fits `one` also fits `other`, but not the reverse."""
    return not schema_mismatches(other, one) and bool(schema_mismatches(one, other))
