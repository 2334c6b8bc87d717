"""The keys of a table, as the models have them: each is of one column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, collate

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, Table


def primary_key(table: Table) -> Column[Any]:
    """Return the column of the primary key."""
    (column,) = table.primary_key
    return column


def foreign_keys(table: Table) -> list[tuple[Column[Any], Column[Any]]]:
    """Return each column that is a foreign key, with the column that it points to."""
    return [(key.parent, key.column) for column in table.columns for key in column.foreign_keys]


def key_order(table: Table, binary: str) -> ColumnElement[Any]:
    """Return what to sort by to have the order of the primary key, texts by their bytes.

    Args:
        table: The table.
        binary: The name of the collation by bytes.
    """
    key = primary_key(table)
    return key if isinstance(key.type, Integer) else collate(key, binary)
