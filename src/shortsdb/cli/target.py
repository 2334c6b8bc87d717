"""The database that a command is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shortsdb.errors import OperationRefused
from shortsdb.settings import DEFAULT_URL
from shortsdb.sqlite.backup_files import folder_for
from shortsdb.sqlite.file_checks import refuse_unusable_file
from shortsdb.target import Target

if TYPE_CHECKING:
    from pathlib import Path


def parse_target(url: str | None, schema: str | None = None) -> Target:
    """Return the database that the user named, or the default one.

    Raises:
        OperationRefused: It is malformed, or of a database in memory.
    """
    target = Target.parse(url or DEFAULT_URL, schema)
    target.refuse_in_memory()
    return target


def refuse_missing(target: Target) -> None:
    """Refuse a SQLite file that does not exist, before Alembic creates it by connecting.

    Raises:
        OperationRefused: There is no such file, or none that this user may look at.
    """
    if target.file is not None:
        refuse_unusable_file(target.file, changes=False)
        if not target.file.exists():
            raise OperationRefused(f"{target.file} does not exist; nothing was created")


def file_and_folder(target: Target, backup: str | None) -> tuple[Path, Path | None]:
    """Return the file of a SQLite database, and where its backups go, None for nowhere."""
    if target.file is None:
        raise click.UsageError("this is for SQLite files; a server has backups of its own")
    return target.file, folder_for(target.file, backup)
