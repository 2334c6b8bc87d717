"""shortsdb backup and restore."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from shortsdb.cli.options import (
    backup_option,
    json_option,
    plausible_path,
    url_option,
    yes_option,
)
from shortsdb.cli.output import ask, say

if TYPE_CHECKING:
    from pathlib import Path

# Alembic and SQLAlchemy take half a second to import: functions import what they use.


@click.command()
@url_option
@backup_option
@json_option
def backup(url: str | None, backup: str | None, *, as_json: bool) -> None:
    """Copy the SQLite database while it is in use, and check the copy.

    Prints the path of the copy, with --json also its revision and its size in bytes. Control
    characters of a path are printed as escapes; JSON has it exactly. The newest five are kept,
    and the newest of an earlier revision.

    \b
    Examples:
      shortsdb backup                     into the folder backups beside the file
      shortsdb backup --backup /srv/backups --json
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import file_and_folder, parse_target
    from shortsdb.errors import OperationRefused
    from shortsdb.migration import read_file
    from shortsdb.sqlite.backup import keep_newest, make_backup

    file, folder = file_and_folder(parse_target(url), backup)
    if folder is None:
        raise click.UsageError("the backup is switched off; name a folder with --backup")
    if not file.exists():
        raise OperationRefused(f"{file} does not exist")
    found, _ = read_file(file)
    revision = found.revision or found.shape
    copy = make_backup(file, revision, folder)
    keep_newest(file, copy)
    if as_json:
        size = copy.stat().st_size
        click.echo(json.dumps({"backup": str(copy), "revision": revision, "size_bytes": size}))
    else:
        say(copy)


@click.command()
@click.argument("backup_file", metavar="BACKUP", callback=plausible_path)
@url_option
@backup_option
@yes_option
def restore(backup_file: Path, url: str | None, backup: str | None, *, yes: bool) -> None:
    """Put BACKUP back over the SQLite database.

    Asks before, and keeps what is replaced as one more backup. Waits for whoever writes to the
    database, and refuses after SHORTSDB_LOCK_TIMEOUT seconds. Stop the pipeline first: in WAL mode
    nobody else may have the file open.

    \b
    Example:
      shortsdb restore backups/deployed.0001.20261120T193217221994Z.db
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import file_and_folder, parse_target
    from shortsdb.errors import OperationRefused
    from shortsdb.migration import read_file
    from shortsdb.sqlite.backup import backups_of
    from shortsdb.sqlite.files import behind_link
    from shortsdb.sqlite.restore import refuse_unfinished
    from shortsdb.sqlite.restore import restore as restore_file

    backup_file = behind_link(backup_file)
    file, folder = file_and_folder(parse_target(url), backup)
    refuse_unfinished(backup_file, file)
    new, _ = read_file(backup_file, immutable=True)
    # What it has copied itself it puts back in any case.
    if not new.known and backup_file not in backups_of(file, backup_file.parent):
        raise OperationRefused(
            f"{backup_file} is at revision {new.revision or 'none'}, which this release does not "
            f"know{f': {new.misfit}' if new.misfit else ''}; it was not restored"
        )
    try:
        old, _ = read_file(file)
        at = old.revision or old.shape
    except OperationRefused:  # a damaged database is what one restores for
        at = None
    if not yes:
        ask(
            f"Replace {file} (revision {at or 'none'}) by {backup_file} "
            f"(revision {new.revision or new.shape or 'none'})?"
        )
    restore_file(backup_file, file, folder, at)
