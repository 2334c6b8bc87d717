"""SQLite as a side of a copy: a source at head that nobody changes, or a new file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from sqlalchemy import exists, func, insert, or_, select
from sqlalchemy.dialects import sqlite

from shortsdb.config import alembic_config
from shortsdb.migration.backup import fsync, refuse_damaged
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.pages import connect_read_only, copy_pages
from shortsdb.transfer.binary import RowFormat
from shortsdb.transfer.invalid import InvalidRow, plain
from shortsdb.transfer.keys import foreign_keys, key_order, primary_key
from shortsdb.transfer.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.sql import ClauseElement

_ROWS_A_STEP = 1_000


class Sqlite:
    """A SQLite database at head, one side of a copy."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use a connection that nobody else uses."""
        self.connection = connection
        # Tells text from a blob, and minds no broken text.
        connection.text_factory = bytearray

    def count(self, table: Table) -> int:
        """Return how many rows a table has."""
        (rows,) = self._execute(select(func.count()).select_from(table)).fetchone()
        return int(rows)

    def examine(
        self,
        table: Table,
        invalid: Mapping[str, Collection[Any]],
        advance: Callable[[int], object],
    ) -> Iterator[InvalidRow]:
        """Look for rows that PostgreSQL cannot hold.

        Args:
            table: The table.
            invalid: The keys of invalid rows, by table, of the tables that this one points to.
            advance: Is told how many more rows were looked at.
        """
        row_format = RowFormat(table)
        names = [column.name for column in table.columns]
        keys = foreign_keys(table)
        found = [
            or_(child.is_(None), exists().where(parent == child).correlate(table))
            for child, parent in keys
        ]
        for rows in self._select(table, *found):
            for row in rows:
                values = row[: len(names)]
                try:
                    row_format.encode(values)
                    faults = {}
                except ValueError:
                    faults = row_format.faults(values)
                for (child, parent), is_there in zip(keys, row[len(names) :], strict=True):
                    value = values[names.index(child.name)]
                    if not is_there:
                        reason = f"{parent.table.name} has no row {plain(value)!r}"
                        faults.setdefault(child.name, reason)
                    elif value in invalid[parent.table.name]:
                        faults[child.name] = f"row {value} of {parent.table.name} is invalid"
                if faults:
                    content = dict(zip(names, map(plain, values), strict=True))
                    yield InvalidRow(table.name, content[primary_key(table).name], faults, content)
            advance(len(rows))

    def read(self, table: Table, without: Collection[Any] = ()) -> Iterator[bytes]:
        """Read a table in the order of its primary key, each row in the binary format.

        Args:
            table: The table, all of whose other rows are valid.
            without: The keys of rows to leave out.
        """
        row_format = RowFormat(table)
        at = list(table.columns).index(primary_key(table))
        for rows in self._select(table):
            for row in rows:
                if not without or plain(row[at]) not in without:
                    yield row_format.encode(row)

    def write(self, table: Table, rows: Iterable[bytes]) -> None:
        """Insert rows in the binary format."""
        row_format = RowFormat(table)
        self.connection.executemany(_sql(insert(table)), map(row_format.decode, rows))

    def _select(self, table: Table, *more: ColumnElement[Any]) -> Iterator[list[tuple[Any, ...]]]:
        ordered = select(*table.columns, *more).order_by(key_order(table, "BINARY"))
        cursor = self._execute(ordered)
        while rows := cursor.fetchmany(_ROWS_A_STEP):
            yield rows

    def _execute(self, statement: ClauseElement) -> sqlite3.Cursor:
        return self.connection.execute(_sql(statement))


def _sql(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))


@contextmanager
def upgraded_copy(file: Path) -> Iterator[Path]:
    """Copy a database into a temporary folder, and upgrade the copy to head.

    The database itself is only read, and whoever writes to it waits no longer than for a backup.

    Raises:
        MigrationRefused: It is damaged, or cannot be upgraded, or the copy has no room.
    """
    with tempfile.TemporaryDirectory(prefix="shortsdb-") as folder:
        free, needed = shutil.disk_usage(folder).free, file.stat().st_size
        if free < needed:
            raise MigrationRefused(
                f"{file} is first copied to {tempfile.gettempdir()}, which has {free} bytes free "
                f"of {needed}; nothing was written. Make room, or name another folder by TMPDIR"
            )
        copy = Path(folder) / file.name
        with closing(connect_read_only(file)) as source, closing(_connect_new(copy)) as target:
            copy_pages(source, target, f"reading {file}")
        refuse_damaged(copy, str(file))
        try:
            _upgrade(copy)
        except MigrationRefused as refusal:
            raise MigrationRefused(str(refusal).replace(str(copy), str(file))) from refusal
        yield copy


@contextmanager
def opened(file: Path) -> Iterator[Sqlite]:
    """Give a database that nobody writes to."""
    with closing(connect_read_only(file, immutable=True)) as connection:
        yield Sqlite(connection)


@contextmanager
def new_file(file: Path) -> Iterator[Sqlite]:
    """Give a new database at head that gets the name `file` when the block has ended well.

    Until then it lies in a folder beside that nobody else may look into; a killed copy leaves that
    folder behind. Nobody else may read the file.

    Raises:
        MigrationRefused: There is a file of that name.
    """
    refuse_existing(file)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:
        partial = Path(folder) / file.name
        _upgrade(partial)
        partial.chmod(0o600)
        with closing(_connect_new(partial)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN")
            yield Sqlite(connection)
            connection.execute("COMMIT")
        fsync(partial)
        try:
            os.link(partial, file)  # a rename would replace what has come meanwhile
        except FileExistsError:
            refuse_existing(file)
        fsync(file.parent)


def refuse_existing(file: Path) -> None:
    """Look whether the name of a new database is free.

    Raises:
        MigrationRefused: It is not.
    """
    if file.exists():
        raise MigrationRefused(
            f"{file} exists already, and a copy is only written to a new file; nothing was "
            "written. Name another one, or move it out of the way"
        )


def _connect_new(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    # No journal: a killed copy is no copy.
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def _upgrade(file: Path) -> None:
    with quiet():
        command.upgrade(alembic_config(str(file), backup="off"), "head")
