"""Rehearses a migration on a copy of a SQLite file: there, checked, compared, and back."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alembic import command

from shortsdb.driver_errors import explain
from shortsdb.log import quiet
from shortsdb.migration.database import read_only_connection
from shortsdb.migration.drift import find_drift
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.preview import is_downgrade
from shortsdb.migration.revisions import alembic_config, revision_ids
from shortsdb.migration.status import read_file
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.file_checks import refuse_without_space
from shortsdb.sqlite.foreign_keys import broken_keys
from shortsdb.sqlite.history import read_history
from shortsdb.sqlite.online_copy import connect_read_only
from shortsdb.sqlite.rows import count_rows, same_rows
from shortsdb.sqlite.schema import read_schema, table_names
from shortsdb.sqlite.scratch import scratch_folder
from shortsdb.sqlite.version import BOOKKEEPING
from shortsdb.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SAMPLE_SECONDS = 0.02


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal has found.

    Attributes:
        at: The revision of the database, None for none.
        to: The revision that was gone to, and back from.
        seconds: How long the migration took, with its backup.
        seconds_locked: How long others could not have written.
        seconds_back: How long the way back took, with its backup.
        peak_bytes: How much disk the migration needed for a while, besides the database.
        rows: How many rows of the tables of before were compared.
        changed: The tables of before whose rows are others afterwards.
        changed_back: The same after the way back.
        drift: How the schema differs from the models, if it is at head.
        broken_keys: The foreign keys that rows violate.
    """

    at: str | None
    to: str | None
    seconds: float
    seconds_locked: float
    seconds_back: float
    peak_bytes: int
    rows: int
    changed: list[str]
    changed_back: list[str]
    drift: list[str]
    broken_keys: list[str]

    @property
    def ok(self) -> bool:
        """Whether nothing was found that needs looking at."""
        return not (self.changed or self.changed_back or self.drift or self.broken_keys)


def rehearse(file: Path, revision: str) -> Rehearsal:
    """Migrate a copy of a database, and back, and compare its rows with those of before.

    The copy lies in a folder beside the database that only its owner may read, and is deleted at
    the end. The database itself is only read.

    Args:
        file: The database.
        revision: Where to.

    Raises:
        OperationRefused: It cannot be copied, or the migration is refused; the message says why.
    """
    version, _ = read_file(file)
    at = version.revision or version.shape
    back = is_downgrade(revision, at, revision_ids())
    # Two copies, one that is migrated, and its backups; a rebuild needs room for a moment.
    refuse_without_space(file, None, 0, change_bytes=4 * file.stat().st_size)
    with scratch_folder(file.parent, f".{file.name[:40]}.") as folder:
        copy, original = folder / "copy.db", folder / "original.db"
        with quiet("shortsdb", logging.WARNING):
            make_backup(file, at, folder).rename(copy)
            make_backup(copy, at, folder).rename(original)
        try:
            before = _folder_bytes(folder)
            with _peak(folder) as peak:
                _migrate(copy, revision, back=back)
            there, _ = read_file(copy)
            if there.revision == at:
                raise MigrationRefused(f"{file} is at {at} already: there is nothing to rehearse")
            rows, changed = _compare(original, copy)
            drift, broken = _look(copy, at_head=there.revision == revision_ids()[-1])
            _migrate(copy, at or "base", back=not back)
            _, changed_back = _compare(original, copy)
            with closing(connect_read_only(copy)) as connection:
                (seconds, seconds_locked), (seconds_back, _) = [
                    (one.seconds, one.seconds_locked)
                    for one in read_history(connection)
                    if one.seconds is not None and one.seconds_locked is not None
                ][-2:]
        except sqlite3.Error as error:
            raise MigrationRefused(explain(error, str(copy))) from error
    return Rehearsal(
        at=at,
        to=there.revision,
        seconds=seconds,
        seconds_locked=seconds_locked,
        seconds_back=seconds_back,
        peak_bytes=max(peak) - before,
        rows=rows,
        changed=changed,
        changed_back=changed_back,
        drift=drift,
        broken_keys=broken,
    )


def _migrate(copy: Path, revision: str, *, back: bool) -> None:
    # The folder that would be taken if nobody named one.
    config = alembic_config(str(copy), backup=str(copy.parent / "backups"))
    with quiet("shortsdb", logging.WARNING):
        (command.downgrade if back else command.upgrade)(config, revision)


def _look(copy: Path, *, at_head: bool) -> tuple[list[str], list[str]]:
    """Return how the copy differs from the models, and its broken foreign keys."""
    with read_only_connection(Target.parse(str(copy))) as connection:
        broken = list(map(str, broken_keys(connection.connection)))
        return find_drift(alembic_config(), connection) if at_head else [], broken


def _compare(original: Path, copy: Path) -> tuple[int, list[str]]:
    """Return how many rows of the original were compared, and the tables where they differ.

    A downgrade may drop tables and columns: what both have is compared.
    """
    compared, changed = 0, []
    with closing(connect_read_only(original)) as before, closing(connect_read_only(copy)) as after:
        tables = set(table_names(before)).intersection(table_names(after))
        tables -= BOOKKEEPING
        old, new = read_schema(before, tables), read_schema(after, tables)
        for table in sorted(tables):
            columns = [(one, one) for one in old[table].columns if one in new[table].columns]
            compared += count_rows(before, table)
            if not same_rows(before, after, (table, table), columns):
                changed.append(table)
    return compared, changed


def _folder_bytes(folder: Path) -> int:
    """Return how much the files in a folder hold, and those in folders in it."""
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size
        except FileNotFoundError:  # it was deleted meanwhile
            continue
    return size


@contextmanager
def _peak(folder: Path) -> Iterator[list[int]]:
    """Yield what a folder held at moments of the block; all of them are there at its end."""
    seen = [_folder_bytes(folder)]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            seen.append(_folder_bytes(folder))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield seen
    finally:
        done.set()
        sampler.join()
        seen.append(_folder_bytes(folder))
