"""The shape of a PostgreSQL database, by which one without a version is recognised.

What each revision looks like there follows from its SQLite script: the models are the same, and
each type has one counterpart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import column as sql_column
from sqlalchemy import func, inspect, select, text
from sqlalchemy import table as sql_table

from shortsdb.errors import OperationRefused
from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.revisions import revision_ids
from shortsdb.sqlite.baseline import fitting_revision, null_mismatches
from shortsdb.sqlite.schema import (
    Column,
    ForeignKey,
    Schema,
    Table,
    schema_mismatches,
    schema_of_script,
)
from shortsdb.sqlite.version import VERSION_TABLE, Version, version_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Inspector
    from sqlalchemy.engine.interfaces import ReflectedColumn

_TYPES = {
    "INTEGER": "BIGINT",  # PostgreSQL's INTEGER ends at 2,147,483,647
    "FLOAT": "DOUBLE PRECISION",
    "DATETIME": "TIMESTAMP WITH TIME ZONE",
}

# To PostgreSQL these are the same type but for a length, which ours do not have.
_ALIKE = {"VARCHAR": "TEXT"}


def schema_of_baseline(script: str) -> Schema:
    """Return the shape on PostgreSQL of the tables that a SQLite script creates."""
    return {
        name: replace(
            table,
            columns={column: _translated(found) for column, found in table.columns.items()},
            unique=table.unique - {tuple(sorted(table.primary_key))},
            numbers_rows=False,  # see _unnumbered
        )
        for name, table in schema_of_script(script).items()
    }


def _translated(found: Column) -> Column:
    declared = _TYPES.get(found.declared, found.declared)
    return replace(found, declared=declared, affinity=_ALIKE.get(declared, declared))


def read_schema(connection: Connection, names: Collection[str]) -> Schema:
    """Return the shape of the tables `names`, those of them that exist in the present schema."""
    inspector = inspect(connection)
    there = sorted(set(names).intersection(inspector.get_table_names()))
    return {name: _read_table(inspector, name) for name in there}


def _read_table(inspector: Inspector, name: str) -> Table:
    indexes = [
        (str(index["name"]), tuple(map(str, index["column_names"])), index["unique"])
        for index in inspector.get_indexes(name)
        # One on an expression or for a part of the rows is none of ours.
        if None not in index["column_names"]
        and "postgresql_where" not in index.get("dialect_options", {})
    ]
    return Table(
        columns={
            found["name"]: _column(found, found["type"].compile(inspector.dialect))
            for found in inspector.get_columns(name)
        },
        primary_key=tuple(inspector.get_pk_constraint(name)["constrained_columns"]),
        numbers_rows=False,
        unique=frozenset(tuple(sorted(columns)) for _, columns, unique in indexes if unique),
        foreign_keys=frozenset(
            ForeignKey(
                tuple(key["constrained_columns"]),
                key["referred_table"],
                tuple(key["referred_columns"]),
                key["options"].get("onupdate", "NO ACTION"),
                key["options"].get("ondelete", "NO ACTION"),
            )
            for key in inspector.get_foreign_keys(name)
        ),
        indexes={index: columns for index, columns, _ in indexes},
    )


def _column(found: ReflectedColumn, declared: str) -> Column:
    has_default = found["default"] is not None or "identity" in found or "computed" in found
    return Column(declared, _ALIKE.get(declared, declared), not found["nullable"], has_default)


def recognise(connection: Connection, baselines: Mapping[str, str], name: str) -> str | None:
    """Return the revision whose shape an unversioned database has, None if it has no such table.

    Tables of other software may be in the same schema, and are not looked at.

    Args:
        connection: The database.
        baselines: The SQLite script of every revision that unversioned databases are known to have.
        name: What to call the database in messages.

    Raises:
        OperationRefused: See `fitting_revision`.
    """
    known = {revision: schema_of_baseline(script) for revision, script in baselines.items()}
    ours = {table for shape in known.values() for table in shape}
    inspector = inspect(connection)
    views = {*inspector.get_view_names(), *inspector.get_materialized_view_names()}
    taken = [f"the name {name} is that of a view" for name in sorted(ours & views)]

    def faults(shape: Schema, held: Collection[str]) -> list[str]:
        found = read_schema(connection, held)
        return [
            *schema_mismatches(shape, found),
            *_unnumbered(shape, found),
            *null_mismatches(shape, found, rows_with_null),
            *taken,
        ]

    def rows_with_null(table: str, column: str) -> int:
        rows = select(func.count()).select_from(sql_table(table))
        return connection.scalar(rows.where(sql_column(column).is_(None))) or 0

    tables = ours & {*inspector.get_table_names(), *views}
    return fitting_revision(sorted(tables), known, faults, name)


def read_server_version(connection: Connection, name: str) -> Version:
    """Return the version of a PostgreSQL database, see `sqlite.version`.

    Args:
        connection: The database.
        name: What to call it in `Version.misfit`.
    """
    heads: Sequence[object] = []
    if inspect(connection).has_table(VERSION_TABLE):
        heads = connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")).all()  # noqa: S608 - a constant
    if heads:
        return version_of(heads, revision_ids())
    try:
        return version_of((), revision_ids(), recognise(connection, BASELINES, name))
    except OperationRefused as refusal:
        return version_of((), revision_ids(), misfit=str(refusal))


def _unnumbered(shape: Schema, found: Schema) -> list[str]:
    """Return the keys for which the server does not give a new row the next number."""
    return [
        f"column {name}.{key} has no default, so the server does not number new rows"
        for name, table in found.items()
        for key in table.primary_key
        if name in shape
        and shape[name].primary_key == (key,)
        and shape[name].columns[key].affinity == "BIGINT"
        and not table.columns[key].has_default
    ]
