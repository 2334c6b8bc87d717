"""Find the parts of a SQLite table that were lost when it was rebuilt.

SQLAlchemy does not reflect triggers, CHECKs, collations and indexes on expressions, so Alembic's
batch_alter_table drops them silently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shortsdb.sqlite.definitions import (
    check_clauses,
    collations,
    index_definition,
    table_options,
)
from shortsdb.sqlite.schema import ForeignKey, read_schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sqlalchemy import Connection


def lost_parts(
    before: Connection,
    after: Connection,
    tables: tuple[str, str],
    renamed: Mapping[str, str],
    dropped: Collection[str],
) -> list[str]:
    """Return a phrase for each part that a table has lost.

    Parts that refer to a dropped column do not count.

    Args:
        before: The database before the rebuild.
        after: The database after the rebuild.
        tables: The names of the table before and after.
        renamed: The new names of renamed columns, by old name, in lower case.
        dropped: The triggers and indexes that were dropped by name, so on purpose.
    """
    old = read_schema(before.connection, [tables[0]])[tables[0]]
    new = read_schema(after.connection, [tables[1]])[tables[1]]
    columns = {column.lower(): found for column, found in new.columns.items()}
    names = {
        column: renamed.get(column.lower(), column.lower())
        for column in old.columns
        if renamed.get(column.lower(), column.lower()) in columns
    }
    gone = {column.lower() for column in old.columns if column not in names}
    lost = [
        *_lost_objects(before, after, tables, renamed, gone, dropped),
        *_lost_options(before, after, tables, renamed, gone),
    ]
    for column, now in names.items():
        if old.columns[column].not_null and not columns[now].not_null:
            lost.append(f"NOT NULL of {column}")
        if old.columns[column].has_default and not columns[now].has_default:
            lost.append(f"the DEFAULT of {column}")

    def translated(group: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names[column] for column in group)

    def stays(group: tuple[str, ...]) -> bool:
        return names.keys() >= set(group)

    if (
        old.primary_key
        and stays(old.primary_key)
        and (
            translated(old.primary_key) != tuple(map(str.lower, new.primary_key))
            or (old.numbers_rows and not new.numbers_rows)
        )
    ):
        lost.append(f"its PRIMARY KEY ({', '.join(old.primary_key)})")
    # SQLite has no index for an INTEGER PRIMARY KEY, which is unique too.
    unique = {tuple(sorted(map(str.lower, group))) for group in (*new.unique, new.primary_key)}
    lost += [
        f"UNIQUE ({', '.join(group)})"
        for group in sorted(old.unique)
        if stays(group) and tuple(sorted(translated(group))) not in unique
    ]
    keys = {_lower(key, tuple(map(str.lower, key.columns))) for key in new.foreign_keys}
    lost += sorted(
        str(key)
        for key in old.foreign_keys
        if stays(key.columns) and _lower(key, translated(key.columns)) not in keys
    )
    return lost


def _lower(key: ForeignKey, columns: tuple[str, ...]) -> tuple[object, ...]:
    return (columns, key.table.lower(), key.on_update, key.on_delete)


def _lost_objects(  # noqa: PLR0913, PLR0917 - see lost_parts
    before: Connection,
    after: Connection,
    tables: tuple[str, str],
    renamed: Mapping[str, str],
    gone: set[str],
    dropped: Collection[str],
) -> Iterator[str]:
    now = _objects(after, tables[1], {})
    for (kind, name), definition in _objects(before, tables[0], renamed).items():
        if name in dropped or gone & set(definition):
            continue
        if now.get((kind, name)) != definition:
            yield f"the {kind} {name}"


def _objects(
    connection: Connection, table: str, renamed: Mapping[str, str]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the triggers and indexes of a table, indexes with their definition."""
    rows = connection.exec_driver_sql(
        "SELECT type, name, sql FROM sqlite_master"
        " WHERE type IN ('trigger', 'index') AND sql IS NOT NULL AND tbl_name = ? COLLATE NOCASE",
        (table,),
    ).all()
    return {
        (kind, name): index_definition(sql, renamed) if kind == "index" else ()
        for kind, name, sql in rows
    }


def _lost_options(
    before: Connection,
    after: Connection,
    tables: tuple[str, str],
    renamed: Mapping[str, str],
    gone: set[str],
) -> Iterator[str]:
    old, new = _sql(before, tables[0]), _sql(after, tables[1])
    for clause in check_clauses(old, renamed) - check_clauses(new, {}):
        if not gone & set(clause):
            yield f"CHECK {' '.join(clause)}"
    now = collations(new)
    for column, collation in collations(old).items():
        if column not in gone and now.get(renamed.get(column, column)) != collation:
            yield f"COLLATE {collation} of {column}"
    yield from sorted(table_options(old) - table_options(new))
    if "AUTOINCREMENT" in table_options(old) & table_options(new):
        last, last_now = _last_number(before, tables[0]), _last_number(after, tables[1])
        if last_now < last:
            yield f"the last number of AUTOINCREMENT ({last_now} in sqlite_sequence, it was {last})"


def _sql(connection: Connection, table: str) -> str:
    return str(
        connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        ).scalar_one()
    )


def _last_number(connection: Connection, table: str) -> int:
    found = connection.exec_driver_sql(
        "SELECT seq FROM sqlite_sequence WHERE name = ? COLLATE NOCASE", (table,)
    ).scalar()
    return int(found or 0)
