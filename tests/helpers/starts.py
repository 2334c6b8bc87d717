"""The databases from which an upgrade can start."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import legacy_database
from alembic import command
from sample_rows import fill_new_tables

from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.revisions import alembic_config, revision_ids

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REVISIONS = revision_ids()


def no_file(_path: Path) -> None:
    """Leave no file."""


def empty_file(path: Path) -> None:
    """Make an empty file."""
    path.touch()


def unversioned(path: Path) -> None:
    """Make a deployed database."""
    legacy_database.make(path)


def empty_version_table(path: Path) -> None:
    """Make a deployed database with a version table without a row."""
    legacy_database.make(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")


def only_an_empty_version_table(path: Path) -> None:
    """Make a database that holds only an empty version table."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")


def create_all(path: Path) -> None:
    """Create the schema that create_all created for the models of release 0.1."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(BASELINES["0008"])
        legacy_database.fill(connection, 60)
    fill_new_tables(path)


@dataclass(frozen=True)
class AtRevision:
    """Makes a database with rows at a revision; unlike a closure it can be sent to a process."""

    revision: str

    @property
    def __name__(self) -> str:
        """Return a name like that of the functions above."""
        return f"at_{self.revision}"

    def __call__(self, path: Path) -> None:
        """Make the database."""
        command.upgrade(alembic_config(str(path)), self.revision)
        with closing(sqlite3.connect(path)) as connection, connection:
            legacy_database.fill(connection, 60)
        fill_new_tables(path)


STARTS: list[Callable[[Path], None]] = [
    no_file,
    empty_file,
    unversioned,
    empty_version_table,
    only_an_empty_version_table,
    create_all,
    *map(AtRevision, REVISIONS[:-1]),
]
