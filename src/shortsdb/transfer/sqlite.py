"""SQLite as a side of a copy: a source at head that nobody changes, or a new file."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, func, insert, select
from sqlalchemy.dialects import sqlite

from shortsdb.lifecycle import upgrade
from shortsdb.log import quiet
from shortsdb.migration import MigrationRefused
from shortsdb.models import metadata
from shortsdb.sqlite.backup import refuse_damaged
from shortsdb.sqlite.file_checks import refuse_orphans, refuse_shared_folder
from shortsdb.sqlite.files import NewFile, fsync, open_folder
from shortsdb.sqlite.online_copy import connect_new, connect_read_only, copy_to_new
from shortsdb.sqlite.scratch import scratch_folder
from shortsdb.transfer.invalid_rows import InvalidRow, plain
from shortsdb.transfer.keys import foreign_keys, key_order, primary_key
from shortsdb.transfer.pgcopy import RowFormat

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.sql import ClauseElement

_ROWS_A_STEP = 100  # few, because a row may hold a long text


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
        width = len(table.columns)
        keys = foreign_keys(table)
        broken = [
            and_(child.is_not(None), ~exists().where(parent == child).correlate(table))
            for child, parent in keys
        ]
        all_suspect = any(invalid[parent.table.name] for _, parent in keys)
        for rows in self._select(table, *broken):
            try:
                row_format.check(rows)
                suspects = [row for row in rows if all_suspect or any(row[width:])]
            except ValueError:
                suspects = rows
            for row in suspects:
                content = dict(zip(table.columns.keys(), map(plain, row), strict=False))
                faults = row_format.faults(row)
                for (child, parent), is_broken in zip(keys, row[width:], strict=True):
                    value = content[child.name]
                    if is_broken:
                        reason = f"{parent.table.name} has no row {value!r}"
                        faults.setdefault(child.name, reason)
                    elif value in invalid[parent.table.name]:
                        faults[child.name] = f"row {value} of {parent.table.name} is invalid"
                if faults:
                    yield InvalidRow(table.name, content[primary_key(table).name], faults, content)
            advance(len(rows))

    def read(self, table: Table, without: Collection[Any] = ()) -> Iterator[list[bytes]]:
        """Read a table in the order of its primary key, in lists of rows in the binary format.

        Args:
            table: The table, all of whose other rows are valid.
            without: The keys of rows to leave out.
        """
        row_format = RowFormat(table)
        at = list(table.columns).index(primary_key(table))
        for rows in self._select(table):
            kept = [row for row in rows if plain(row[at]) not in without] if without else rows
            if kept:
                yield row_format.encode(kept)

    def write(self, table: Table, parts: Iterable[list[bytes]]) -> None:
        """Insert rows in the binary format."""
        rows = map(RowFormat(table).decode, chain.from_iterable(parts))
        self.connection.executemany(_sql(insert(table)), rows)

    def finish(self) -> None:
        """Do nothing: a new file of ours has nothing that would change rows at the commit."""

    def _select(self, table: Table, *more: ColumnElement[Any]) -> Iterator[list[tuple[Any, ...]]]:
        ordered = select(*table.columns, *more).order_by(key_order(table, "BINARY"))
        cursor = self._execute(ordered)
        while rows := cursor.fetchmany(_ROWS_A_STEP):
            yield rows

    def _execute(self, statement: ClauseElement) -> sqlite3.Cursor:
        return self.connection.execute(_sql(statement))


def _sql(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))


class OriginalFile:
    """The file that a copy was made from, looked at again when the copy is complete."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Begin to watch the file of a connection, which must not write to it."""
        self._connection = connection
        self._version = self._data_version()

    def written_to(self) -> bool:
        """Return whether somebody has written to the file since."""
        return self._data_version() != self._version

    def rows(self) -> dict[str, int]:
        """Return how many rows those of our tables have that the file has."""
        side = Sqlite(self._connection)
        there = {
            plain(name)
            for (name,) in self._connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            )
        }
        return {name: side.count(table) for name, table in metadata.tables.items() if name in there}

    def _data_version(self) -> object:
        # Differs if another connection has committed, see https://sqlite.org/pragma.html.
        return self._connection.execute("PRAGMA data_version").fetchone()


@contextmanager
def upgraded_copy(file: Path) -> Iterator[tuple[Path, OriginalFile]]:
    """Copy a database into a temporary folder, and upgrade the copy to head.

    The database itself is only read, and whoever writes to it waits no longer than for a backup.
    Gives the copy and the original.

    Raises:
        MigrationRefused: It is damaged, or cannot be upgraded, or the copy has no room.
    """
    with scratch_folder(Path(tempfile.gettempdir()), "shortsdb-copy-") as folder:
        free, needed = shutil.disk_usage(folder).free, file.stat().st_size
        if free < needed:
            raise MigrationRefused(
                f"{file} is first copied to {tempfile.gettempdir()}, which has {free} bytes free "
                f"of {needed}; nothing was written. Make room, or name another folder by TMPDIR"
            )
        copy = folder / file.name
        found = file.stat()
        with closing(connect_read_only(file, found)) as source:
            original = OriginalFile(source)
            with (
                open_folder(copy.parent) as private,
                NewFile.create(copy.with_name("copy.partial"), private) as partial,
            ):
                copy_to_new(source, file, found, partial, f"reading {file}")
                partial.rename(copy.name)
            refuse_damaged(copy, str(file))
            try:
                _upgrade(copy)
            except MigrationRefused as refusal:
                raise MigrationRefused(str(refusal).replace(str(copy), str(file))) from refusal
            yield copy, original


@contextmanager
def open_source(file: Path) -> Iterator[Sqlite]:
    """Give a database that nobody writes to."""
    with closing(connect_read_only(file, immutable=True)) as connection:
        yield Sqlite(connection)


@contextmanager
def new_file(file: Path) -> Iterator[Sqlite]:
    """Give a new database at head that gets the name `file` when the block has ended well.

    Until then it lies in a folder beside that only its owner may read. A killed copy leaves that
    folder behind, and the next copy to the same file removes it. Only the owner may read the file.

    Raises:
        OperationRefused: There is a file of that name, or root was asked to write where another
            user can replace what root writes.
    """
    refuse_existing(file)
    refuse_shared_folder(file.parent)
    with scratch_folder(file.parent, f".{file.name[:40]}.") as folder:
        partial = folder / file.name
        _upgrade(partial)
        partial.chmod(0o600)
        with closing(connect_new(partial)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN")
            yield Sqlite(connection)
            connection.execute("COMMIT")
        fsync(partial)
        try:
            os.link(partial, file)  # a rename would replace what has come meanwhile
        except OSError as error:
            raise MigrationRefused(
                f"{file} could not be given its name ({error.strerror}); nothing was copied"
            ) from error
        fsync(file.parent)


def refuse_existing(file: Path) -> None:
    """Look whether the name of a new database is free.

    So must be those of its journals, see `refuse_orphans`.

    Raises:
        OperationRefused: It is not.
    """
    refuse_orphans(file)
    if os.path.lexists(file):
        raise MigrationRefused(
            f"{file} exists already, and a copy is only written to a new file; nothing was "
            "written. Name another one, or move it out of the way"
        )


def _upgrade(file: Path) -> None:
    with quiet("shortsdb.migration", logging.ERROR):
        upgrade(url=str(file), backup="off", must_exist=False)
