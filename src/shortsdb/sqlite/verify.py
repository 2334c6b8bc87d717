"""Drills a restore: puts a backup into a temporary file, and looks at what has come out."""

from __future__ import annotations

import logging
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shortsdb.driver_errors import explain
from shortsdb.errors import OperationRefused
from shortsdb.log import quiet
from shortsdb.printable import VALUE_LENGTH, printable
from shortsdb.sqlite.connection import values
from shortsdb.sqlite.foreign_keys import BrokenKey, broken_keys
from shortsdb.sqlite.restore import restore
from shortsdb.sqlite.rows import count_rows
from shortsdb.sqlite.schema import table_names
from shortsdb.sqlite.scratch import scratch_folder
from shortsdb.sqlite.version import Version, read_version, reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Verified:
    """What was found in a backup.

    Attributes:
        size_bytes: Its size.
        version: The revision that it has.
        damage: What SQLite's integrity_check has found.
        broken_keys: The foreign keys that rows in it violate.
        rows: How many rows each table holds.
    """

    size_bytes: int
    version: Version
    damage: tuple[str, ...]
    broken_keys: tuple[BrokenKey, ...]
    rows: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether it is sound, holds tables of ours, and this release could go on with it."""
        at = self.version.revision or self.version.shape
        return bool(at) and self.version.known and not self.damage and not self.broken_keys


def verify(backup: Path, known: Sequence[str], baselines: Mapping[str, str]) -> Verified:
    """Restore a backup into a temporary file, and look at all of it there.

    The file lies in a folder that only its owner may read, in the system's folder for temporary
    files (TMPDIR).

    Args:
        backup: The backup.
        known: The revisions of this release, oldest first.
        baselines: The DDL script of each revision that unversioned databases may be at.

    Raises:
        OperationRefused: It cannot be restored; the message says why.
    """
    parent = Path(tempfile.gettempdir())
    with scratch_folder(parent, "shortsdb-verify-") as folder:
        file = folder / "restored.db"
        with quiet("shortsdb.sqlite.restore", logging.WARNING):
            restore(backup, file, None, None)
        try:
            with reading(file) as connection:
                found = values(connection, "PRAGMA integrity_check(100)")
                return Verified(
                    size_bytes=file.stat().st_size,
                    version=read_version(connection, known, baselines, str(backup)),
                    damage=tuple(printable(line, VALUE_LENGTH) for line in found if line != "ok"),
                    broken_keys=tuple(broken_keys(connection)),
                    rows={
                        table: count_rows(connection, table) for table in table_names(connection)
                    },
                )
        except sqlite3.Error as error:
            raise OperationRefused(explain(error, str(backup))) from error
