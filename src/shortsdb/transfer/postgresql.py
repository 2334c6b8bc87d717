"""PostgreSQL as a side of a copy: a snapshot of a source, or a target in one transaction."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    Float,
    Text,
    cast,
    exists,
    false,
    func,
    inspect,
    literal_column,
    not_,
    or_,
    select,
    text,
)
from sqlalchemy.dialects import postgresql

from shortsdb.lifecycle import upgrade
from shortsdb.log import quiet
from shortsdb.migration import (
    MigrationRefused,
    create_migration_engine,
    revision_ids,
    set_timeouts,
)
from shortsdb.models import metadata
from shortsdb.settings import table_lock_timeout
from shortsdb.transfer.invalid_rows import InvalidRow
from shortsdb.transfer.keys import foreign_keys, key_order, primary_key
from shortsdb.transfer.pgcopy import HEADER, TRAILER, kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from sqlalchemy import Column, ColumnElement, Connection, Table

    from shortsdb.target import Target

_ROWS_A_STEP = 100  # few, because a row may hold a long text
_dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


class Postgres:
    """A PostgreSQL database at head, one side of a copy."""

    def __init__(self, connection: Connection, target: Target) -> None:
        """Use a connection to `target` that is in a transaction."""
        self.connection = connection
        self.target = target
        driver_connection: Any = connection.connection.driver_connection
        self._cursor = driver_connection.cursor

    def refuse_unusable_source(self) -> None:
        """Look whether the database can be copied from; see `snapshot`."""
        self._refuse_encoding()
        self._refuse_hidden_rows()
        found = MigrationContext.configure(self.connection).get_current_heads()
        at, head = ", ".join(found) or "none", revision_ids()[-1]
        if at != head:
            raise MigrationRefused(
                f"{self.target} is at revision {at}, and only {head} can be copied to SQLite; "
                "nothing was written. Upgrade it first"
            )

    def refuse_unusable_target(self) -> None:
        """Look whether the database, which may be at any revision, can be copied to.

        Raises:
            MigrationRefused: It is read-only, not in UTF-8, hides rows, or our tables hold rows.
        """
        if self.connection.scalar(text("SHOW transaction_read_only")) == "on":
            raise MigrationRefused(
                f"{self.target} is read-only: a standby, or default_transaction_read_only is on; "
                "nothing was written. Name the primary"
            )
        self._refuse_encoding()
        self._refuse_hidden_rows()
        there = set(inspect(self.connection).get_table_names())
        # Not the columns of today, which an older revision does not have.
        one: ColumnElement[int] = literal_column("1")
        filled = [
            table.name
            for table in metadata.sorted_tables
            if table.name in there
            and self.connection.scalar(select(exists(select(one).select_from(table))))
        ]
        if filled:
            raise MigrationRefused(
                f"{self.target} is not empty: {', '.join(filled)} hold rows; nothing was written. "
                "Name an empty database"
            )

    def _refuse_encoding(self) -> None:
        encoding = self.connection.scalar(text("SHOW server_encoding"))
        if encoding != "UTF8":
            raise MigrationRefused(
                f"{self.target} has the encoding {encoding}, which does not hold every text; "
                "nothing was written. Create one with ENCODING 'UTF8'"
            )

    def _refuse_hidden_rows(self) -> None:
        # Until the transaction ends the server fails a query from which row-level security would
        # hide rows. LOCAL, because behind a pooler the next transaction is another client's.
        self.connection.exec_driver_sql("SET LOCAL row_security = off")
        tables = self.connection.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relname = ANY(:names)"
                " AND pg_table_is_visible(oid) AND row_security_active(oid) ORDER BY relname"
            ),
            {"names": list(metadata.tables)},
        ).all()
        if tables:
            raise MigrationRefused(
                f"{self.target}: row-level security hides rows of {', '.join(tables)} from "
                "this user; nothing was written. Connect as the owner of the tables, or as a role "
                "with BYPASSRLS"
            )

    def count(self, table: Table) -> int:
        """Return how many rows a table has."""
        return self.connection.execute(select(func.count()).select_from(table)).scalar_one()

    def examine(
        self, table: Table, _invalid: object, advance: Callable[[int], object]
    ) -> Iterator[InvalidRow]:
        """Look for rows that SQLite cannot hold; the server does it in one query.

        Args:
            table: The table.
            advance: Is told how many more rows were looked at.
        """
        faults = list(_faults(table))
        wrong = [condition for _, _, condition in faults]
        statement = select(
            primary_key(table),
            # As JSON: Python has no form for all moments.
            cast(func.to_jsonb(literal_column(_quoted(table.name))), Text),
            *[func.coalesce(condition, false()) for condition in wrong],
        ).where(or_(false(), *wrong))
        for key, row, *found in self.connection.execute(statement.execution_options(yield_per=100)):
            reasons = {
                column.name: reason
                for (column, reason, _), is_wrong in zip(faults, found, strict=True)
                if is_wrong
            }
            yield InvalidRow(table.name, key, reasons, json.loads(row))
        advance(self.count(table))

    def read(self, table: Table, without: Collection[Any] = ()) -> Iterator[list[bytes]]:
        """Read a table in the order of its primary key, in lists of rows in the binary format.

        Args:
            table: The table.
            without: The keys of its invalid rows; they are left out.
        """
        statement = select(
            # To SQLite -0.0 is 0.0, which the sum is too.
            *[column + 0.0 if kind(column) is float else column for column in table.columns]
        ).order_by(key_order(table, "C"))
        if without:
            statement = statement.where(not_(_is_invalid(table)))
        rows_of = statement.compile(self.connection, compile_kwargs={"literal_binds": True})
        with self._cursor().copy(f"COPY ({rows_of}) TO STDOUT (FORMAT BINARY)") as copy:
            # They come row by row, see PQgetCopyData; the header with the first of them.
            rows = iter(copy)
            rows = chain([next(rows)[len(HEADER) :]], rows)
            while part := list(map(bytes, islice(rows, _ROWS_A_STEP))):
                if part[-1] == TRAILER:
                    part.pop()
                yield part

    def write(self, table: Table, parts: Iterable[list[bytes]]) -> None:
        """Insert rows in the binary format."""
        columns = ", ".join(_quoted(column.name) for column in table.columns)
        into = f"COPY {_quoted(table.name)} ({columns}) FROM STDIN (FORMAT BINARY)"
        with self._cursor().copy(into) as copy:
            copy.write(HEADER)
            for rows in parts:
                copy.write(b"".join(rows))
            copy.write(TRAILER)

    def finish(self) -> None:
        """Make every change now that would otherwise come with the commit or after it.

        So that rows which are read after this are those that the commit makes visible.
        """
        self._advance_sequences()
        # Triggers of the target that are deferred fire here, and not after the rows were compared.
        self.connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")

    def _advance_sequences(self) -> None:
        """Let the next ids come after those that were copied."""
        for column in [table.autoincrement_column for table in metadata.sorted_tables]:
            last = None if column is None else self.connection.scalar(select(func.max(column)))
            if column is not None and last is not None:
                table = _quoted(column.table.name)
                sequence = select(func.pg_get_serial_sequence(table, column.name))
                after = min(max(last, 0) + 1, 2**63 - 1)
                # Not setval, which no rollback would undo.
                self.connection.exec_driver_sql(
                    f"ALTER SEQUENCE {self.connection.scalar(sequence)} RESTART WITH {after}"
                )


def _faults(table: Table) -> Iterator[tuple[Column[Any], str, ColumnElement[bool]]]:
    """Give what SQLite cannot hold of a table: the column, the reason and the condition."""
    for column in table.columns:
        if kind(column) is float:
            not_a_number = cast(literal_column("'NaN'"), Float)
            yield column, "NaN, which SQLite stores as NULL", column == not_a_number
        elif kind(column) is datetime:
            first: ColumnElement[datetime] = literal_column("timestamptz '0001-01-01 00:00:00+00'")
            last: ColumnElement[datetime] = literal_column(
                "timestamptz '9999-12-31 23:59:59.999999+00'"
            )
            reason = "a moment outside of the years 1 to 9999"
            yield column, reason, not_(column.between(first, last))
    for child, parent in foreign_keys(table):
        invalid = exists().where(parent == child, _is_invalid(parent.table)).correlate(table)
        yield child, f"its row of {parent.table.name} is invalid", invalid


def _is_invalid(table: Table) -> ColumnElement[bool]:
    return func.coalesce(or_(false(), *[condition for _, _, condition in _faults(table)]), false())


def _quoted(name: str) -> str:
    return _dialect.identifier_preparer.quote(name)


@contextmanager
def connected(target: Target, **options: Any) -> Iterator[Postgres]:  # noqa: ANN401 - SQLAlchemy's
    """Give a database in a transaction, in which a query may last as long as it takes.

    Args:
        target: The database.
        options: The execution options of the connection.

    Raises:
        MigrationRefused: The driver is not there.
    """
    engine = create_migration_engine(target, changes=True).execution_options(**options)
    with engine.connect() as connection, connection.begin():
        set_timeouts(connection, lock=table_lock_timeout(), statement=0)
        yield Postgres(connection, target)


@contextmanager
def snapshot(source: Target) -> Iterator[Postgres]:
    """Give a database as it is at one moment; nobody who writes to it has to wait.

    Raises:
        MigrationRefused: It is not at head, not in UTF-8, or hides rows of our tables.
    """
    with connected(source, isolation_level="REPEATABLE READ", postgresql_readonly=True) as side:
        side.refuse_unusable_source()
        yield side


@contextmanager
def target_transaction(target: Target) -> Iterator[Postgres]:
    """Give a database at head with empty tables, in a transaction that the block's end commits.

    Nobody else can write to the tables meanwhile.

    Raises:
        MigrationRefused: It cannot be written, or its tables hold rows, or it cannot be upgraded.
    """
    # Else rows that others committed while this one waited for the tables would not be seen.
    with connected(target, isolation_level="READ COMMITTED") as side:
        connection = side.connection
        _wait_for_disk(connection)
        side.refuse_unusable_target()
        with quiet("shortsdb.migration", logging.ERROR):
            upgrade(connection=connection, schema=target.schema, must_exist=False)
        tables = ", ".join(_quoted(table) for table in metadata.tables)
        connection.exec_driver_sql(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")
        side.refuse_unusable_target()
        yield side


def _wait_for_disk(connection: Connection) -> None:
    """Have the commit wait until it is durable, if a setting of the server says otherwise."""
    if connection.scalar(text("SHOW synchronous_commit")) == "off":
        connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
