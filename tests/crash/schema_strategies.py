"""Generated schemas: the deployed one, variants that fit, and mutants that do not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass

import legacy_database
from hypothesis import strategies as st

# Other types to which SQLite gives the same affinity as to the declared one.
SPELLINGS = {
    "INTEGER": ("INTEGER", "INT", "BIGINT", "smallint", "UNSIGNED BIG INT"),
    "VARCHAR": ("VARCHAR", "TEXT", "VARCHAR(255)", "nchar(3)", "CLOB"),
    "TEXT": ("TEXT", "VARCHAR", "CHARACTER(20)"),
    "FLOAT": ("FLOAT", "REAL", "DOUBLE PRECISION", "float(53)"),
    "DATETIME": ("DATETIME", "TIMESTAMP", "DATE", "NUMERIC", "DECIMAL(10, 5)"),
}
OTHER_TYPES = {
    "INTEGER": ("TEXT", "REAL", "BLOB", "NUMERIC", ""),
    "VARCHAR": ("INTEGER", "REAL", "BLOB", "JSON", ""),
    "TEXT": ("INTEGER", "BLOB", "JSON"),
    "FLOAT": ("INTEGER", "TEXT", "DECIMAL", ""),
    "DATETIME": ("TEXT", "INTEGER", "REAL", ""),
}


@dataclass
class Column:
    """A column of a draft."""

    name: str
    type: str
    not_null: bool
    suffix: str = ""


@dataclass
class Table:
    """A table of a draft; `constraints` maps the DDL of each to the columns that it needs."""

    name: str
    columns: list[Column]
    constraints: dict[str, set[str]]
    indexes: dict[str, list[str]]

    def forget(self, column: Column) -> None:
        """Remove the column, and the constraints and indexes that need it."""
        self.columns.remove(column)
        self.constraints = {
            ddl: needed for ddl, needed in self.constraints.items() if column.name not in needed
        }
        self.indexes = {
            name: needed for name, needed in self.indexes.items() if column.name not in needed
        }

    def ddl(self) -> str:
        """Return the statements that create the table and its indexes."""
        columns = [
            f'"{column.name}" {column.type} {"NOT NULL" if column.not_null else ""} {column.suffix}'
            for column in self.columns
        ]
        body = ",\n".join([*columns, *self.constraints])
        indexes = [
            f'CREATE INDEX "{name}" ON "{self.name}" ({", ".join(needed)});'
            for name, needed in self.indexes.items()
        ]
        return "\n".join([f'CREATE TABLE "{self.name}" (\n{body}\n);', *indexes])


def _deployed() -> dict[str, Table]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(legacy_database.SCHEMA)
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: _table(connection, name) for (name,) in names}


def _table(connection: sqlite3.Connection, name: str) -> Table:
    columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
    constraints = {"PRIMARY KEY (id)": {"id"}}
    indexes = {}
    for _, index, unique, _, _ in connection.execute(f"PRAGMA index_list({name})").fetchall():
        needed = [row[2] for row in connection.execute(f"PRAGMA index_info({index})")]
        if unique:
            constraints[f"UNIQUE ({', '.join(needed)})"] = set(needed)
        else:
            indexes[index] = needed
    for key in connection.execute(f"PRAGMA foreign_key_list({name})").fetchall():
        constraints[f"FOREIGN KEY ({key[3]}) REFERENCES {key[2]} ({key[4]})"] = {key[3]}
    return Table(
        name, [Column(row[1], row[2], bool(row[3])) for row in columns], constraints, indexes
    )


DEPLOYED = _deployed()


def script(tables: list[Table]) -> str:
    """Return the DDL of a draft."""
    return "\n".join(table.ddl() for table in tables)


@st.composite
def genuine(draw: st.DrawFn) -> str:
    """Draw the DDL of a schema that differs from the deployed one only in accepted ways."""
    tables = deepcopy(list(DEPLOYED.values()))
    for table in tables:
        _vary(draw, table)
    if draw(st.booleans()):
        tables.append(Table("notes", [Column("word", "", not_null=False)], {}, {}))
    return script(draw(st.permutations(tables)))


def _vary(draw: st.DrawFn, table: Table) -> None:
    for column in table.columns:
        if column.name != "id":  # the spelling INTEGER PRIMARY KEY matters
            column.type = draw(st.sampled_from(SPELLINGS[column.type]))
            column.suffix = draw(st.sampled_from(("", "", "DEFAULT 0", "DEFAULT 'x'", "CHECK (1)")))
            column.not_null = column.not_null and draw(st.sampled_from((True, True, True, False)))
    table.columns = draw(st.permutations(table.columns))
    table.constraints = {
        (f"CONSTRAINT c{number}_{table.name} " if draw(st.booleans()) else "") + ddl: needed
        for number, (ddl, needed) in enumerate(table.constraints.items())
    }
    if draw(st.booleans()):
        table.columns.append(Column("my note", "TEXT", not_null=False))
    if draw(st.booleans()):
        table.columns.append(Column("mine", "", not_null=True, suffix="DEFAULT 7"))
    kept = draw(st.sets(st.sampled_from(sorted(table.indexes))))
    table.indexes = {name: columns for name, columns in table.indexes.items() if name in kept}
    if draw(st.booleans()):
        table.indexes[f"further_{table.name}"] = ["id"]


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Draw the DDL of a schema that deployed code could not have created or could not use."""
    tables = deepcopy(DEPLOYED)
    table = tables[draw(st.sampled_from(sorted(tables)))]
    if draw(st.booleans()):
        _mutate_column(draw, table)
    elif draw(st.booleans()):
        _mutate_key(draw, table)
    elif draw(st.booleans()):
        del tables[table.name]
    else:
        table.name += "_old"
        table.indexes = {}
    return script(list(tables.values()))


def _mutate_column(draw: st.DrawFn, table: Table) -> None:
    column = draw(st.sampled_from(table.columns[1:]))
    match draw(st.sampled_from(("drop", "rename", "affinity", "nullability", "add"))):
        case "drop":
            table.forget(column)
        case "rename":
            table.forget(column)
            table.columns.append(Column(f"{column.name}_", column.type, column.not_null))
        case "affinity":
            column.type = draw(st.sampled_from(OTHER_TYPES[column.type]))
        case "nullability":
            # The reverse is accepted if no row holds a NULL there.
            nullable = [column for column in table.columns if not column.not_null]
            draw(st.sampled_from(nullable)).not_null = True
        case "add":
            table.columns.append(Column("owner", "TEXT", not_null=True))


def _mutate_key(draw: st.DrawFn, table: Table) -> None:
    key = draw(st.sampled_from(sorted(table.constraints)))
    if key.startswith("PRIMARY KEY") and draw(st.booleans()):
        # With a type other than INTEGER, SQLite does not number rows.
        table.columns[0].type = draw(st.sampled_from(("INT", "BIGINT", "TEXT")))
        return
    needed = table.constraints.pop(key)
    if key.startswith("FOREIGN KEY") and draw(st.booleans()):
        action = draw(st.sampled_from(("DELETE CASCADE", "DELETE SET NULL", "UPDATE CASCADE")))
        table.constraints[f"{key} ON {action}"] = needed
