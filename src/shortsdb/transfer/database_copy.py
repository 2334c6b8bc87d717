"""Copies a database to the other kind: looks for what is invalid, copies, compares, commits."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from shortsdb.driver_errors import explain, left_behind
from shortsdb.log import get_logger, operation
from shortsdb.migration import MigrationRefused, as_migration_refused, read_only_connection
from shortsdb.models import metadata
from shortsdb.sqlite.file_checks import refuse_unusable_file
from shortsdb.sqlite.progress import progress_line
from shortsdb.sqlite.version import BOOKKEEPING
from shortsdb.target import Target
from shortsdb.transfer.invalid_rows import InvalidRowReport, collecting
from shortsdb.transfer.late import late_changes
from shortsdb.transfer.postgresql import Postgres, connected, snapshot, target_transaction
from shortsdb.transfer.sqlite import Sqlite, new_file, open_source, upgraded_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import URL, Connection

log = get_logger(__name__)


@dataclass(frozen=True)
class TableChecksum:
    """A table that has as many rows and the same content on both sides.

    `sha256` is that of its rows in PostgreSQL's binary COPY format, in the order of their keys.
    """

    table: str
    rows: int
    sha256: str


@operation()
@as_migration_refused()
def copy(
    source: str | URL,
    target: str | URL,
    skip_invalid: Path | None = None,
    *,
    schema: str | None = None,
) -> list[TableChecksum]:
    """Copy all tables from SQLite to PostgreSQL or back, and return what was compared.

    The source is only read. What is written to it meanwhile is not copied, and a warning says how
    many rows that are, if it can be told. The target is written in one transaction, or is a new
    file that gets its name at the end: if the copy is killed at any moment, it is as it was.

    Args:
        source: A SQLite file of any revision, or a PostgreSQL database at head; by URL or path.
        target: A PostgreSQL database whose tables are empty or not there, or a SQLite file that is
            not there.
        skip_invalid: A file for the rows that the target cannot hold, which are left out; that of
            an earlier copy is replaced if there are any. None to refuse the copy then.
        schema: That of the PostgreSQL database, see `Target.parse`; created if need be.

    Raises:
        MigrationRefused: Nothing was copied; the message says why.
    """
    origin, destination = Target.parse(source), Target.parse(target)
    if schema is not None:
        into = destination.file is None
        origin, destination = (
            Target.parse(source, None if into else schema),
            Target.parse(target, schema if into else None),
        )
    kinds = [side.url.get_backend_name() for side in (origin, destination)]
    if kinds[0] == kinds[1]:
        raise MigrationRefused(
            f"a copy goes from SQLite to PostgreSQL or back, not from {kinds[0]} to {kinds[1]}; "
            "between two of a kind use its own programs"
        )
    begun = time.monotonic()
    with _explained(origin, destination), collecting(skip_invalid) as findings:
        run = _to_postgresql if kinds[0] == "sqlite" else _to_sqlite
        verified = run(origin, destination, findings)
    log.info(
        "%s is copied to %s: %d rows in %.1f s, every table compared",
        origin,
        destination,
        sum(table.rows for table in verified),
        time.monotonic() - begun,
    )
    return verified


def _to_postgresql(
    source: Target, target: Target, findings: InvalidRowReport
) -> list[TableChecksum]:
    file = _file(source)
    refuse_unusable_file(file, changes=False)
    if not file.exists():
        raise MigrationRefused(f"{file} does not exist")
    # Fail before reading the source; this is checked again when nobody else can write to it.
    with connected(target) as there:
        there.refuse_unusable_target()
    with upgraded_copy(file) as (copied, original):
        with read_only_connection(Target.parse(copied)) as connection:
            _say_what_stays(connection, source)
        with open_source(copied) as side:
            _examine(side, source, findings)
            with target_transaction(target) as there:
                verified = _copy(side, there, findings)
                now, written_to = original.rows(), original.written_to()
                _say_what_is_late(source, verified, findings, now, written_to=written_to)
                return verified


def _to_sqlite(source: Target, target: Target, findings: InvalidRowReport) -> list[TableChecksum]:
    file = _file(target)
    refuse_unusable_file(file, changes=True)
    with new_file(file) as there:
        with snapshot(source) as side:
            _say_what_stays(side.connection, source)
            _examine(side, source, findings)
            verified = _copy(side, there, findings)
        # After the snapshot: a pooler may have one connection for all.
        with connected(source) as side:
            now = {table.name: side.count(table) for table in metadata.sorted_tables}
        _say_what_is_late(source, verified, findings, now, written_to=False)
        return verified


def _file(target: Target) -> Path:
    if target.file is None:
        raise MigrationRefused("a database in memory is not copied; name a file")
    return target.file


@contextmanager
def _explained(*sides: Target) -> Iterator[None]:
    """Turn errors of either driver into refusals that name the side, one of which is a file."""
    try:
        yield
    except Exception as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        of_file = isinstance(cause, sqlite3.Error)
        if not of_file and not hasattr(cause, "sqlstate"):  # psycopg need not be installed
            raise
        (name,) = (side.name for side in sides if (side.file is not None) == of_file)
        raise MigrationRefused(f"{explain(error, name)}; {left_behind(error, 'copied')}") from error


def _say_what_stays(connection: Connection, source: Target) -> None:
    inspector = inspect(connection)
    tables = set(inspector.get_table_names())
    stays = sorted(tables - {*metadata.tables, *BOOKKEEPING})
    for table in metadata.tables.values():
        columns = [column["name"] for column in inspector.get_columns(table.name)]
        stays += [f"{table.name}.{column}" for column in columns if column not in table.columns]
    if stays:
        log.warning("%s: not of this schema, and not copied: %s", source, ", ".join(stays))


def _say_what_is_late(
    source: Target,
    verified: Iterable[TableChecksum],
    findings: InvalidRowReport,
    now: Mapping[str, int],
    *,
    written_to: bool,
) -> None:
    copied = {table.table: table.rows + len(findings.keys[table.table]) for table in verified}
    if late := late_changes(copied, now, written_to=written_to):
        log.warning("%s %s. Stop what writes to it, and copy again to a new target", source, late)


def _examine(side: Sqlite | Postgres, source: Target, findings: InvalidRowReport) -> None:
    with _progress(f"checking {source}", side) as advance:
        for table in metadata.sorted_tables:
            for found in side.examine(table, findings.keys, advance):
                findings.add(found)
    findings.settle(source)


def _copy(
    source: Sqlite | Postgres, target: Sqlite | Postgres, findings: InvalidRowReport
) -> list[TableChecksum]:
    sent, verified = {}, []
    with _progress("copying", source) as advance:
        for table in metadata.sorted_tables:
            sent[table.name] = tally = _Tally(advance)
            target.write(table, tally.over(source.read(table, findings.keys[table.name])))
    target.finish()
    with _progress("comparing", source) as advance:
        for table in metadata.sorted_tables:
            tally = _Tally(advance)
            for _ in tally.over(target.read(table)):
                pass
            if tally.result != sent[table.name].result:
                raise MigrationRefused(
                    f"{table.name} would not be what it is in the source: {tally.result} of "
                    f"{sent[table.name].result} (rows, sha256); nothing was copied. A "
                    "trigger of the target can change rows: disable it for the copy. If there is "
                    "none, report it"
                )
            verified.append(TableChecksum(table.name, *tally.result))
    return verified


class _Tally:
    """Counts and hashes the rows that pass."""

    def __init__(self, advance: Callable[[int], object]) -> None:
        self._advance = advance
        self._rows = 0
        self._hash = sha256()

    def over(self, parts: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
        for rows in parts:
            self._hash.update(b"".join(rows))
            self._rows += len(rows)
            self._advance(len(rows))
            yield rows

    @property
    def result(self) -> tuple[int, str]:
        return self._rows, self._hash.hexdigest()


@contextmanager
def _progress(label: str, source: Sqlite | Postgres) -> Iterator[Callable[[int], None]]:
    """Give a function that is told of rows as they pass, and shows the share of all there are."""
    done, total = 0, sum(source.count(table) for table in metadata.sorted_tables)
    with progress_line(label) as show:

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            show(done / max(total, 1))

        yield advance
