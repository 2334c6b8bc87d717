"""The database that a command is for: its URL, its file, its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from alembic.script import ScriptDirectory

from shortsdb import url as urls
from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.database import parse, refuse_in_memory
from shortsdb.migration.revisions import alembic_config
from shortsdb.migration.status import Status, read_status
from shortsdb.settings import DEFAULT_URL
from shortsdb.sqlite.backup import folder_for

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL


def parse_url(url: str | None) -> URL:
    """Return the URL of the database that the user named, or of the default one.

    Raises:
        MigrationRefused: It is malformed, or of a database in memory.
    """
    parsed = parse(url or DEFAULT_URL)
    refuse_in_memory(parsed)
    return parsed


def status_of(url: URL, backup: str | None) -> Status:
    """Return the status of a database among the revisions of this release."""
    return read_status(url, ScriptDirectory.from_config(alembic_config()), BASELINES, backup)


def file_and_folder(url: URL, backup: str | None) -> tuple[Path, Path | None]:
    """Return the file of a SQLite database, and where its backups go, None for nowhere."""
    file = urls.file(url)
    if file is None:
        raise click.UsageError("this is for SQLite files; a server has backups of its own")
    return file, folder_for(file, backup)
