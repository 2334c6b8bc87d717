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

from shortsdb import url as urls
from shortsdb.driver_errors import explain, left_behind
from shortsdb.log import get_logger, operation
from shortsdb.migration import MigrationRefused, as_migration_refused, create_migration_engine
from shortsdb.models import metadata
from shortsdb.sqlite.file_checks import refuse_unusable_file
from shortsdb.sqlite.progress import progress_line
from shortsdb.target import Target
from shortsdb.transfer.invalid_rows import InvalidRowReport, collecting
from shortsdb.transfer.late import late_changes
from shortsdb.transfer.postgresql import (
    Postgres,
    engine_of,
    refuse_unusable_target,
    rows_of_now,
    snapshot,
    target_transaction,
)
from shortsdb.transfer.sqlite import Sqlite, new_file, open_source, refuse_existing, upgraded_copy

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
    source: str | URL, target: str | URL, skip_invalid: Path | None = None
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

    Raises:
        MigrationRefused: Nothing was copied; the message says why.
    """
    from_url, to_url = Target.parse(source).url, Target.parse(target).url
    kinds = (from_url.get_backend_name(), to_url.get_backend_name())
    if kinds not in {("sqlite", "postgresql"), ("postgresql", "sqlite")}:
        raise MigrationRefused(
            f"a copy goes from SQLite to PostgreSQL or back, not from {kinds[0]} to {kinds[1]}; "
            "between two of a kind use its own programs"
        )
    names = {kind: urls.display(url) for kind, url in zip(kinds, (from_url, to_url), strict=True)}
    begun = time.monotonic()
    with _explained(names), collecting(skip_invalid) as findings:
        if kinds[0] == "sqlite":
            verified = _to_postgresql(from_url, to_url, findings)
        else:
            verified = _to_sqlite(from_url, to_url, findings)
    log.info(
        "%s is copied to %s: %d rows in %.1f s, every table compared",
        urls.display(from_url),
        urls.display(to_url),
        sum(table.rows for table in verified),
        time.monotonic() - begun,
    )
    return verified


def _to_postgresql(source: URL, target: URL, findings: InvalidRowReport) -> list[TableChecksum]:
    name = urls.display(source)
    file = _file(source)
    refuse_unusable_file(file, changes=False)
    if not file.exists():
        raise MigrationRefused(f"{file} does not exist")
    # Fail before reading the source; this is checked again when nobody else can write to it.
    with engine_of(target, changes=True).connect() as connection:
        refuse_unusable_target(connection, metadata, urls.display(target))
    with upgraded_copy(file) as (copied, original):
        with create_migration_engine(Target.parse(copied), changes=False).connect() as connection:
            _say_what_stays(connection, name)
        with open_source(copied) as side:
            _examine(side, findings, name)
            with target_transaction(target, metadata) as there:
                verified = _copy(side, there, findings)
                now = original.rows(metadata.sorted_tables)
                _say_what_is_late(verified, findings, now, name, written_to=original.written_to())
                return verified


def _to_sqlite(source: URL, target: URL, findings: InvalidRowReport) -> list[TableChecksum]:
    name = urls.display(source)
    file = _file(target)
    refuse_unusable_file(file, changes=True)
    refuse_existing(file)
    with new_file(file) as there:
        with snapshot(source, metadata) as side:
            _say_what_stays(side.connection, name)
            _examine(side, findings, name)
            verified = _copy(side, there, findings)
        # After the snapshot: a pooler may have one connection for all.
        now = rows_of_now(source, metadata.sorted_tables)
        _say_what_is_late(verified, findings, now, name, written_to=False)
        return verified


def _file(url: URL) -> Path:
    file = urls.file(url)
    if file is None:
        raise MigrationRefused("a database in memory is not copied; name a file")
    return file


@contextmanager
def _explained(names: dict[str, str]) -> Iterator[None]:
    """Turn errors of either driver into refusals; `names` are those of the two databases."""
    try:
        yield
    except Exception as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, sqlite3.Error):
            name = names["sqlite"]
        elif hasattr(cause, "sqlstate"):  # psycopg need not be installed
            name = names["postgresql"]
        else:
            raise
        raise MigrationRefused(f"{explain(error, name)}; {left_behind(error, 'copied')}") from error


def _say_what_stays(connection: Connection, name: str) -> None:
    inspector = inspect(connection)
    tables = set(inspector.get_table_names())
    stays = sorted(tables - {*metadata.tables, "alembic_version"})
    for table in metadata.tables.values():
        columns = [column["name"] for column in inspector.get_columns(table.name)]
        stays += [f"{table.name}.{column}" for column in columns if column not in table.columns]
    if stays:
        log.warning("%s: not of this schema, and not copied: %s", name, ", ".join(stays))


def _say_what_is_late(
    verified: Iterable[TableChecksum],
    findings: InvalidRowReport,
    now: Mapping[str, int],
    name: str,
    *,
    written_to: bool,
) -> None:
    copied = {table.table: table.rows + len(findings.keys[table.table]) for table in verified}
    if late := late_changes(copied, now, written_to=written_to):
        log.warning("%s %s. Stop what writes to it, and copy again to a new target", name, late)


def _examine(source: Sqlite | Postgres, findings: InvalidRowReport, name: str) -> None:
    with _progress(f"checking {name}", source) as advance:
        for table in metadata.sorted_tables:
            for found in source.examine(table, findings.keys, advance):
                findings.add(found)
    findings.settle(name)


def _copy(
    source: Sqlite | Postgres, target: Sqlite | Postgres, findings: InvalidRowReport
) -> list[TableChecksum]:
    sent, verified = {}, []
    with _progress("copying", source) as advance:
        for table in metadata.sorted_tables:
            sent[table.name] = tally = _Tally(advance)
            target.write(table, tally.over(source.read(table, findings.keys[table.name])))
    target.finish(metadata.sorted_tables)
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
