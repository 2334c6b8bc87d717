"""shortsdb backup, backups, restore and verify."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from shortsdb.cli.options import (
    backup_option,
    json_option,
    plausible_paths,
    url_option,
    yes_option,
)
from shortsdb.cli.output import (
    ask,
    mebibytes,
    revision_or_shape,
    say,
    say_fields,
    say_table,
)

if TYPE_CHECKING:
    from pathlib import Path

    from shortsdb.sqlite.backup_files import Backup

# Alembic and SQLAlchemy take half a second to import: functions import what they use.

_given = click.argument("given", metavar="[BACKUP]", nargs=-1, callback=plausible_paths)
_latest = click.option("--latest", is_flag=True, help="The newest backup of the database.")


@click.command()
@url_option
@backup_option
@json_option
def backup(url: str | None, backup: str | None, *, as_json: bool) -> None:
    """Copy the SQLite database while it is in use, and check the copy.

    Prints the path of the copy, with --json also its revision and its size in bytes. Control
    characters of a path are printed as escapes; JSON has it exactly. The newest five are kept
    (SHORTSDB_BACKUP_KEEP), the newest of each kind, and the newest of an earlier revision.

    \b
    Examples:
      shortsdb backup                     into the folder backups beside the file
      shortsdb backup --backup /srv/backups --json
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.errors import OperationRefused
    from shortsdb.migration import read_file
    from shortsdb.sqlite.backup import make_backup
    from shortsdb.sqlite.backup_files import keep_newest

    file, folder = _of_database(url, backup)
    if not file.exists():
        raise OperationRefused(f"{file} does not exist")
    found, _ = read_file(file)
    revision = found.revision or found.shape
    if found.known and not revision:
        raise OperationRefused(f"{file} holds no tables: there is nothing to back up")
    copy = make_backup(file, revision, folder)
    keep_newest(file, copy)
    if as_json:
        size = copy.stat().st_size
        click.echo(json.dumps({"backup": str(copy), "revision": revision, "size_bytes": size}))
    else:
        say(copy)


@click.command()
@url_option
@backup_option
@json_option
def backups(url: str | None, backup: str | None, *, as_json: bool) -> None:
    """List the backups of the SQLite database.

    Oldest first. The names of the files say when each was made, in UTC, at which revision the
    database was, and why: before an upgrade, a downgrade or a restore, or by hand (`manual`). What
    a restore replaced is not checked for damage. No file is opened; `verify` looks into one.

    \b
    Examples:
      shortsdb backups
      shortsdb backups --url shorts.db --backup /srv/backups --json
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.sqlite.backup_files import list_backups

    file, folder = _of_database(url, backup)
    found = list_backups(file, folder)
    if as_json:
        click.echo(json.dumps([_fields(one) for one in found]))
    elif found:
        answers = {True: "yes", False: "no", None: None}
        say_table(
            ("when", "revision", "why", "MiB", "checked", "file"),
            [
                (
                    f"{one.moment:%Y-%m-%d %H:%M:%S}",
                    *(one.revision, one.kind, f"{one.path.stat().st_size / 2**20:.1f}"),
                    *(answers[one.checked], one.path),
                )
                for one in found
            ],
        )
    else:
        say(f"{file} has no backup in {folder}{', and does not exist' * (not file.exists())}.")


def _fields(one: Backup) -> dict[str, object]:
    return {
        "made_at": one.moment.isoformat(),
        "revision": one.revision,
        "kind": one.kind,
        "size_bytes": one.path.stat().st_size,
        "checked": one.checked,
        "backup": str(one.path),
    }


@click.command()
@_given
@_latest
@url_option
@backup_option
@yes_option
def restore(
    given: list[Path], url: str | None, backup: str | None, *, latest: bool, yes: bool
) -> None:
    """Put BACKUP back over the SQLite database.

    Asks before, and keeps what is replaced as one more backup. Waits for whoever writes to the
    database, and refuses after SHORTSDB_LOCK_TIMEOUT seconds. Stop the pipeline first: in WAL mode
    nobody else may have the file open.

    \b
    Examples:
      shortsdb restore backups/deployed.0001-upgrade.20261120T193217221994Z.db
      shortsdb restore --latest           the newest that no restore has made
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import file_and_folder, parse_target
    from shortsdb.errors import OperationRefused
    from shortsdb.migration import read_file
    from shortsdb.sqlite.backup_files import backups_of
    from shortsdb.sqlite.restore import refuse_unfinished
    from shortsdb.sqlite.restore import restore as restore_file

    file, folder = file_and_folder(parse_target(url), backup)
    backup_file = _chosen(given, url, backup, latest=latest)
    refuse_unfinished(backup_file, file)
    new, _ = read_file(backup_file, immutable=True)
    if new.known and not (new.revision or new.shape):
        raise OperationRefused(f"{backup_file} holds no tables; it was not restored")
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


@click.command()
@_given
@_latest
@url_option
@backup_option
@json_option
@click.pass_context
def verify(  # noqa: PLR0913 - one parameter for each option
    ctx: click.Context,
    given: list[Path],
    url: str | None,
    backup: str | None,
    *,
    latest: bool,
    as_json: bool,
) -> None:
    """Restore BACKUP into a temporary file, and check that.

    Looks at all of it: SQLite's integrity_check, foreign keys, the revision, and how many rows each
    table holds. Exits with 1 if anything is wrong. Needs room for one copy in the folder for
    temporary files, which TMPDIR names, and touches neither the backup nor the database.

    \b
    Examples:
      shortsdb verify --latest            what a timer does every night, after the backup
      shortsdb verify offsite/shorts.0008-manual.20261120T193217221994Z.db --json
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.migration import BASELINES, revision_ids
    from shortsdb.sqlite.verify import verify as verify_file

    backup_file = _chosen(given, url, backup, latest=latest)
    found = verify_file(backup_file, revision_ids(), BASELINES)
    version = found.version
    if as_json:
        fields = {"backup": str(backup_file), "ok": found.ok, **asdict(found)}
        click.echo(json.dumps(fields))
    else:
        say_fields(
            {
                "backup": backup_file,
                "revision": revision_or_shape(version.revision, version.shape),
                "misfit": version.misfit,
                "size": mebibytes(found.size_bytes),
                "integrity": "; ".join(found.damage) or "ok",
                "foreign keys": "; ".join(map(str, found.broken_keys)) or "ok",
                "rows": ", ".join(f"{table} {rows}" for table, rows in found.rows.items()),
                "verdict": "it can be restored" if found.ok else "something is wrong",
            },
            {"verdict": "green" if found.ok else "red"},
        )
    if not found.ok:
        ctx.exit(1)


def _chosen(given: list[Path], url: str | None, backup: str | None, *, latest: bool) -> Path:
    """Return the one backup that was named, or the newest one.

    Raises:
        click.UsageError: There is not one answer.
        OperationRefused: There is no backup.
    """
    from shortsdb.errors import OperationRefused
    from shortsdb.sqlite.backup_files import list_backups
    from shortsdb.sqlite.files import behind_link

    if latest == bool(given):
        raise click.UsageError("name one backup, or say --latest for the newest")
    if len(given) > 1:
        raise click.UsageError(
            f"{len(given)} backups were named, and one is needed: a pattern may match several. "
            "shortsdb backups lists them, and --latest is the newest"
        )
    if given:
        return behind_link(given[0])
    file, folder = _of_database(url, backup)
    # What a restore replaced is put back by its name only: else a second one would undo the first.
    found = [one.path for one in list_backups(file, folder) if one.kind != "restore"]
    if not found:
        raise OperationRefused(f"{file} has no backup in {folder}")
    return found[-1]


def _of_database(url: str | None, backup: str | None) -> tuple[Path, Path]:
    """Return the file of a SQLite database, and the folder of its backups.

    Raises:
        click.UsageError: It has none.
        OperationRefused: The folder was named, and does not exist, or the file cannot be one.
    """
    from shortsdb.cli.target import file_and_folder, parse_target
    from shortsdb.sqlite.backup_files import refuse_missing_folder
    from shortsdb.sqlite.file_checks import refuse_unusable_file

    file, folder = file_and_folder(parse_target(url), backup)
    if folder is None:
        raise click.UsageError("the backup is switched off; name a folder with --backup")
    refuse_unusable_file(file, changes=False)
    refuse_missing_folder(folder, file)
    return file, folder
