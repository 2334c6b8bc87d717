"""Read and compare the schemas of SQLite databases.

Declarations that SQLite treats alike compare as equal: TEXT and VARCHAR, TIMESTAMP and DATETIME,
inline and named constraints.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from shortsdb.sqlite.connection import rows, values

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from shortsdb.sqlite.connection import Connection


@dataclass(frozen=True)
class Column:
    """A column: declared type, affinity, nullability and whether it has a default."""

    declared: str
    affinity: str
    not_null: bool
    has_default: bool


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key with its ON UPDATE and ON DELETE actions."""

    columns: tuple[str, ...]
    table: str
    referred: tuple[str, ...]
    on_update: str
    on_delete: str

    def __str__(self) -> str:
        """Return the key as DDL would spell it."""
        actions = "".join(
            f" ON {event} {action}"
            for event, action in (("UPDATE", self.on_update), ("DELETE", self.on_delete))
            if action != "NO ACTION"
        )
        referred = f"{self.table} ({', '.join(self.referred)})"
        return f"FOREIGN KEY ({', '.join(self.columns)}) REFERENCES {referred}{actions}"


@dataclass(frozen=True)
class Table:
    """A table: columns and indexes by name, keys by their columns."""

    columns: dict[str, Column]
    primary_key: tuple[str, ...]
    numbers_rows: bool  # INTEGER PRIMARY KEY: SQLite gives a new row the next number
    unique: frozenset[tuple[str, ...]]
    foreign_keys: frozenset[ForeignKey]
    indexes: dict[str, tuple[str, ...]]


Schema = dict[str, Table]


def affinity(declared: str) -> str:
    """Return the affinity of a declared type, by the rules of https://sqlite.org/datatype3.html."""
    declared = declared.upper()
    for words, result in (
        (("INT",), "INTEGER"),
        (("CHAR", "CLOB", "TEXT"), "TEXT"),
        (("BLOB",), "BLOB"),
        (("REAL", "FLOA", "DOUB"), "REAL"),
    ):
        if any(word in declared for word in words):
            return result
    return "NUMERIC" if declared else "BLOB"


def table_names(connection: Connection) -> list[str]:
    """Return the names of all tables but SQLite's own and virtual ones, sorted.

    Virtual tables, which have no root page, cannot be read without the module that defines them.
    Names that are not text are omitted; `baseline.refuse_leftovers` refuses them.
    """
    return values(
        connection,
        "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage <> 0"
        " AND typeof(name) = 'text'"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )


def read_schema(connection: Connection, names: Collection[str]) -> Schema:
    """Return the schema of those tables in `names` that exist.

    Names are case-sensitive, as in Alembic and unlike in SQLite.
    """
    return {
        name: _read_table(connection, name) for name in table_names(connection) if name in names
    }


@cache
def schema_of_script(script: str) -> Schema:
    """Return the schema that a DDL script creates; cached, because an upgrade reads it often."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return read_schema(connection, table_names(connection))


def _read_table(connection: Connection, name: str) -> Table:
    infos = rows(
        connection,
        "SELECT name, type, \"notnull\", upper(coalesce(dflt_value, 'NULL')) <> 'NULL', pk"
        " FROM pragma_table_info(?)",
        name,
    )
    indexes = rows(
        connection, 'SELECT name, "unique", origin, partial FROM pragma_index_list(?)', name
    )
    key = [(position, column) for column, _, _, _, position in infos if position]
    primary_key = tuple(column for _, column in sorted(key))
    columns_of = {
        index: tuple(
            values(connection, "SELECT name FROM pragma_index_info(?) ORDER BY seqno", index)
        )
        for index, _, _, _ in indexes
    }
    return Table(
        columns={
            column: Column(declared, affinity(declared), bool(not_null), bool(has_default))
            for column, declared, not_null, has_default, _ in infos
        },
        primary_key=primary_key,
        numbers_rows=len(primary_key) == 1 and all(origin != "pk" for _, _, origin, _ in indexes),
        unique=frozenset(
            tuple(sorted(columns_of[index]))
            for index, unique, _, partial in indexes
            # For an expression, SQLite reports None as the column name.
            if unique and not partial and None not in columns_of[index]
        ),
        foreign_keys=frozenset(_read_foreign_keys(connection, name)),
        indexes={
            index: columns_of[index]
            for index, _, origin, partial in indexes
            # As above.
            if origin == "c" and not partial and None not in columns_of[index]
        },
    )


def _read_foreign_keys(connection: Connection, name: str) -> Iterator[ForeignKey]:
    found = rows(
        connection,
        'SELECT id, "table", "from", "to", on_update, on_delete'
        " FROM pragma_foreign_key_list(?) ORDER BY id, seq",
        name,
    )
    for number in {row[0] for row in found}:
        parts = [row for row in found if row[0] == number]
        referred_table, on_update, on_delete = parts[0][1], parts[0][4], parts[0][5]
        referred = tuple(part[3] for part in parts)
        if None in referred:  # REFERENCES without columns means the primary key
            referred = tuple(
                values(
                    connection,
                    "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk",
                    referred_table,
                )
            )
        columns = tuple(part[2] for part in parts)
        yield ForeignKey(columns, referred_table, referred, on_update, on_delete)


def schema_mismatches(expected: Schema, actual: Schema) -> list[str]:
    """Return a phrase for each table or column of `expected` that `actual` lacks or contradicts.

    Additional tables and columns are accepted, except a column that needs a value, because the
    application could not insert rows any more. Different defaults are accepted: they only affect
    new rows that leave the column out. For missing indexes see `missing_indexes`, and for a
    missing NOT NULL `nullable_columns`.
    """
    return [
        phrase
        for name, table in expected.items()
        for phrase in (
            _table_mismatches(name, table, actual[name])
            if name in actual
            else [f"table {name} is missing"]
        )
    ]


def _table_mismatches(name: str, expected: Table, actual: Table) -> Iterator[str]:
    for column, wanted in expected.columns.items():
        found = actual.columns.get(column)
        in_key = column in expected.primary_key
        if found is None:
            yield f"column {name}.{column} is missing"
        elif found.affinity != wanted.affinity:
            found_type = found.declared or "without a type"
            yield f"column {name}.{column} is {found_type} where {wanted.declared} belongs"
        elif found.not_null and not wanted.not_null and not in_key:
            yield f"column {name}.{column} is NOT NULL where NULL belongs"
    for column, found in actual.columns.items():
        if column not in expected.columns and found.not_null and not found.has_default:
            yield f"column {name}.{column} must have a value, and the pipeline does not know it"
    yield from _key_mismatches(name, expected, actual)


def _key_mismatches(name: str, expected: Table, actual: Table) -> Iterator[str]:
    if actual.primary_key != expected.primary_key:
        yield f"table {name} has no PRIMARY KEY ({', '.join(expected.primary_key)})"
    elif expected.numbers_rows and not actual.numbers_rows:
        key = expected.primary_key[0]
        yield f"column {name}.{key} is not INTEGER PRIMARY KEY, so SQLite does not number new rows"
    for columns in sorted(expected.unique - actual.unique):
        yield f"table {name} has no UNIQUE ({', '.join(columns)})"
    for key in sorted(map(str, expected.foreign_keys - actual.foreign_keys)):
        yield f"table {name} has no {key}"


def nullable_columns(expected: Schema, actual: Schema) -> list[tuple[str, str]]:
    """Return the columns, as (table, column), that may be NULL in `actual` only.

    Hand-written schemas sometimes lack a NOT NULL. Such a column fits as long as no row holds a
    NULL in it, which the caller has to check.
    """
    return [
        (name, column)
        for name, table in expected.items()
        for column, wanted in table.columns.items()
        if wanted.not_null
        and column not in table.primary_key
        and name in actual
        and (found := actual[name].columns.get(column))
        and not found.not_null
    ]


def missing_indexes(expected: Schema, actual: Schema) -> list[str]:
    """Return the indexes of `expected` that `actual` lacks, each as "NAME on TABLE (COLUMNS)"."""
    return [
        f"{index} on {name} ({', '.join(columns)})"
        for name, table in expected.items()
        for index, columns in table.indexes.items()
        if columns not in actual[name].indexes.values()
    ]
