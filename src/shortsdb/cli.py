"""The shortsdb command: the migrations of this release, for machines without a checkout."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

# Alembic and SQLAlchemy take half a second to import, which --help need not wait for: functions
# import what they use. Hence PLC0415 is ignored for this file.

if TYPE_CHECKING:
    from sqlalchemy import URL

    from shortsdb.migration.status import Status


def _not_empty(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    # An unset variable of a script; another database must not be taken in its place.
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty")
    return value


_url = click.option(
    "--url",
    callback=_not_empty,
    envvar="SHORTSDB_URL",
    show_envvar=True,
    help="The database, as URL or path; ./shortsdb.db where nothing is said.",
)
_backup = click.option(
    "--backup",
    envvar="SHORTSDB_BACKUP",
    show_envvar=True,
    metavar="off|DIR",
    help="Where the backup of a SQLite file goes; the folder backups beside it where nothing is "
    "said.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")


class _Group(click.Group):
    """Turns refusals into one message and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        logging.basicConfig(level=logging.WARNING, format="%(levelname)-7s %(message)s")
        logging.getLogger("shortsdb").setLevel(logging.INFO)
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:
            raise
        except Exception as error:
            from alembic.util import CommandError

            if isinstance(error, CommandError | OSError):
                raise click.ClickException(str(error)) from error
            raise


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shortsdb")
def main() -> None:
    """Create, upgrade, back up and restore the database of the Shorts pipeline.

    A refusal leaves the database as it was, says why in one message, and exits with 1.
    """


@main.command()
@click.argument("revision", default="head", callback=_not_empty)
@_url
@_backup
def upgrade(revision: str, url: str | None, backup: str | None) -> None:
    """Upgrade the database to REVISION, by default to the newest.

    Creates the database if there is none, and recognises a deployed one that has no version yet.
    All revisions run in one transaction; a SQLite file that holds rows is backed up before.
    """
    from alembic import command

    from shortsdb.config import alembic_config

    command.upgrade(alembic_config(url, backup=backup), revision)


@main.command(context_settings={"ignore_unknown_options": True})  # -1 is a revision
@click.argument("revision", callback=_not_empty)
@_url
@_backup
@_yes
def downgrade(revision: str, url: str | None, backup: str | None, *, yes: bool) -> None:
    """Downgrade the database to REVISION; 0001 is the schema before shortsdb.

    Says which tables would go with how many rows, and asks.
    """
    from alembic import command

    from shortsdb.config import alembic_config

    if not yes:
        for table, rows in _tables_that_go(_parse(url), revision).items():
            click.echo(f"{table} would go, with {rows} rows in it")
        click.confirm(f"Downgrade to {revision}?", abort=True)
    command.downgrade(alembic_config(url, backup=backup), revision)


@main.command()
@_url
@_backup
@_json
def status(url: str | None, backup: str | None, *, as_json: bool) -> None:
    """Say at which revision the database is, what is pending, and where the last backup is."""
    found = _status(_parse(url), backup)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    unknown = "" if found.known else " (not known to this release)"
    revision = (found.revision and found.revision + unknown) or (
        f"none; it has the shape of {found.shape}, and upgrade will adopt it there"
        if found.shape
        else "none"
    )
    lines = {
        "database": found.database + (" (not there yet)" if found.exists is False else ""),
        "revision": revision,
        "head": found.head,
        "pending": None if found.misfit else ", ".join(found.pending) or "nothing",
        "misfit": found.misfit,
        "size": None if found.size_bytes is None else f"{found.size_bytes / 2**20:.1f} MiB",
        "journal mode": found.journal_mode,
        "last backup": found.last_backup or "none",
    }
    for name, value in lines.items():
        if value is not None:
            click.echo(f"{name + ':':<14}{value}")


@main.command()
@_url
@_json
@click.pass_context
def check(ctx: click.Context, url: str | None, *, as_json: bool) -> None:
    """Look for differences between models and database, and for broken foreign keys.

    Exits with 1 if there are any.
    """
    from alembic import command
    from alembic.util import CommandError

    from shortsdb.config import alembic_config
    from shortsdb.migration.status import broken_keys, looking

    with looking(_parse(url)) as connection:
        broken = broken_keys(connection) if connection.dialect.name == "sqlite" else []
    drift = None
    config = alembic_config(url)
    config.print_stdout = lambda *_: None  # type: ignore[method-assign]  # what is clean is said below
    try:
        command.check(config)
    except CommandError as error:
        drift = str(error)
    if as_json:
        click.echo(json.dumps({"drift": drift, "broken_keys": [asdict(key) for key in broken]}))
    else:
        click.echo(drift or "The schema is what the models say.")
        for key in broken:
            click.echo(
                f"{key.table} ({key.columns}): {key.rows} rows point to rows of "
                f"{key.referred_table} that are not there"
            )
        if not broken:
            click.echo("No foreign key is broken.")
    if drift or broken:
        ctx.exit(1)


@main.command()
@_url
@_backup
def backup(url: str | None, backup: str | None) -> None:
    """Copy the SQLite database while it is in use, check the copy, and print its path."""
    from shortsdb.migration.backup import keep_newest, make_backup

    database = _parse(url)
    file, folder = _file_and_folder(database, backup)
    if folder is None:
        raise click.UsageError("the backup is switched off; name a folder with --backup")
    if not file.exists():
        raise click.ClickException(f"{file} does not exist")
    found = _status(database, backup)
    copy = make_backup(file, found.revision or found.shape, folder)
    keep_newest(file, copy)
    click.echo(copy)


@main.command()
@click.argument("backup_file", metavar="BACKUP", type=click.Path(path_type=Path))
@_url
@_backup
@_yes
def restore(backup_file: Path, url: str | None, backup: str | None, *, yes: bool) -> None:
    """Put BACKUP back over the SQLite database; what is replaced is kept as one more backup.

    Waits for whoever writes to the database, and refuses after SHORTSDB_LOCK_TIMEOUT seconds. Stop
    the pipeline first: in WAL mode nobody else may have the file open.
    """
    from shortsdb.migration import MigrationRefused
    from shortsdb.migration.backup import backups_of
    from shortsdb.migration.restore import immutable_url, refuse_unfinished
    from shortsdb.migration.restore import restore as restore_file

    database = _parse(url)
    file, folder = _file_and_folder(database, backup)
    refuse_unfinished(backup_file, file)
    new = _status(immutable_url(backup_file), backup)
    # What it has copied itself it puts back in any case.
    if not new.known and backup_file not in backups_of(file, backup_file.parent):
        raise MigrationRefused(
            f"{backup_file} is at revision {new.revision or 'none'}, which this release does not "
            f"know{f': {new.misfit}' if new.misfit else ''}; it was not restored"
        )
    try:
        old = _status(database, backup)
        at = old.revision or old.shape
    except MigrationRefused:  # a damaged database is what one restores for
        at = None
    if not yes:
        click.confirm(
            f"Replace {file} (revision {at or 'none'}) by {backup_file} "
            f"(revision {new.revision or new.shape or 'none'})?",
            abort=True,
        )
    restore_file(backup_file, file, folder, at)


def _parse(url: str | None) -> URL:
    from shortsdb.config import DEFAULT_URL
    from shortsdb.migration.database import parse

    return parse(url or DEFAULT_URL)


def _status(url: URL, backup: str | None) -> Status:
    from alembic.script import ScriptDirectory

    from shortsdb.config import alembic_config
    from shortsdb.migration.status import read_status
    from shortsdb.shapes import KNOWN_SHAPES

    return read_status(url, ScriptDirectory.from_config(alembic_config()), KNOWN_SHAPES, backup)


def _file_and_folder(url: URL, backup: str | None) -> tuple[Path, Path | None]:
    from shortsdb import url as urls
    from shortsdb.migration.backup import folder_for

    file = urls.file(url)
    if file is None:
        raise click.UsageError("this is for SQLite files; a server has backups of its own")
    return file, folder_for(file, backup)


def _tables_that_go(url: URL, revision: str) -> dict[str, int]:
    """Return the tables that a downgrade to `revision` would drop, and how many rows each holds.

    Found out by doing the same to an empty database in memory.
    """
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine, inspect

    from shortsdb.config import alembic_config
    from shortsdb.migration.status import looking, rows_in

    with looking(url) as connection:
        at = MigrationContext.configure(connection).get_current_heads()
        if len(at) != 1:
            return {}  # the downgrade itself will refuse, and say why
        engine = create_engine("sqlite://")
        config = alembic_config(str(engine.url), backup="off")
        log = logging.getLogger("shortsdb")
        log.setLevel(logging.WARNING)
        try:
            with engine.connect() as rehearsal:
                config.attributes["connection"] = rehearsal
                command.upgrade(config, at[0])
                before = set(inspect(rehearsal).get_table_names())
                rehearsal.rollback()
                command.downgrade(config, revision)
                after = set(inspect(rehearsal).get_table_names())
        finally:
            log.setLevel(logging.INFO)
            engine.dispose()
        return rows_in(connection, before - after)
