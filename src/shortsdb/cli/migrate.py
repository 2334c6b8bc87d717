"""shortsdb upgrade, downgrade, status and check."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from shortsdb.cli.options import (
    backup_option,
    json_option,
    revision_id,
    schema_option,
    url_option,
    yes_option,
)
from shortsdb.cli.output import ask, say, say_fields
from shortsdb.log import get_logger

if TYPE_CHECKING:
    from shortsdb.migration import Status

# The shortcut below logs under the same name as the normal path, so that a filter catches both.
log = get_logger("shortsdb.migration.environment")

# Alembic and SQLAlchemy take half a second to import: functions import what they use.


@click.command()
@click.argument("revision", default="head", callback=revision_id)
@url_option
@schema_option
@backup_option
def upgrade(revision: str, url: str | None, schema: str | None, backup: str | None) -> None:
    """Upgrade the database to REVISION, by default to the newest.

    Creates the database if there is none, and recognises a deployed one that has no version yet.
    All revisions run in one transaction; a SQLite file that holds rows is backed up before.

    \b
    Examples:
      shortsdb upgrade                    ./shortsdb.db, or what SHORTSDB_URL names
      shortsdb upgrade --url /srv/shorts/deployed.db --backup /srv/backups
      shortsdb upgrade 0007               not further than that
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import parse_target
    from shortsdb.migration import alembic_config, revision_ids
    from shortsdb.sqlite.version import is_at_head

    file, head = parse_target(url, schema).file, revision_ids()[-1]
    if revision in {"head", head} and file is not None and is_at_head(file, head):
        log.info("%s is at %s already: nothing to do", file, head)
        return
    from alembic import command

    command.upgrade(alembic_config(url, backup=backup, schema=schema), revision)


@click.command(context_settings={"ignore_unknown_options": True})  # -1 is a revision
@click.argument("revision", callback=revision_id)
@url_option
@schema_option
@backup_option
@yes_option
def downgrade(
    revision: str, url: str | None, schema: str | None, backup: str | None, *, yes: bool
) -> None:
    """Downgrade the database to REVISION.

    0001 is the schema before shortsdb, -1 one revision less than now. Says which tables would go
    with how many rows, and asks. A SQLite file that holds rows is backed up before.

    \b
    Examples:
      shortsdb downgrade -1               undo the newest revision
      shortsdb downgrade 0001 --yes       back to the schema before shortsdb, unasked
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from alembic import command

    from shortsdb.cli.target import parse_target
    from shortsdb.migration import alembic_config, dropped_tables

    if not yes:
        target = parse_target(url, schema)
        for table, rows in dropped_tables(target, alembic_config(), revision).items():
            say(f"{table} would go, with {rows} rows in it")
        ask(f"Downgrade to {revision}?")
    command.downgrade(alembic_config(url, backup=backup, schema=schema), revision)


@click.command()
@url_option
@schema_option
@click.option(
    "--all-schemas",
    is_flag=True,
    help="Of every schema of a PostgreSQL database that has a version.",
)
@backup_option
@json_option
@click.option(
    "--exit-code",
    is_flag=True,
    help="Exit with 3 if revisions are pending, with 4 if there is no such file, with 1 if the "
    "database is not one of this release.",
)
@click.pass_context
def status(  # noqa: PLR0913 - an option each
    ctx: click.Context,
    url: str | None,
    schema: str | None,
    backup: str | None,
    *,
    all_schemas: bool,
    as_json: bool,
    exit_code: bool,
) -> None:
    """Say at which revision the database is, and what is pending.

    Changes nothing, and creates nothing.

    \b
    Examples:
      shortsdb status                     for people
      shortsdb status --json              for programs
      shortsdb status --exit-code || shortsdb upgrade
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import parse_target
    from shortsdb.migration import read_status, versioned_schemas

    target = parse_target(url, schema)
    targets = [target]
    if all_schemas:
        targets = [target.in_schema(name) for name in versioned_schemas(target)]
    found = [read_status(each, backup) for each in targets]
    if as_json:
        each = list(map(asdict, found))
        click.echo(json.dumps(each if all_schemas else each[0]))
    else:
        for one in found:
            colours = {"pending": "yellow" if one.pending else "green", "misfit": "red"}
            say_fields(_lines(one), colours)
    if exit_code:
        # What an upgrade would not mend comes first.
        codes = {_exit_code(one) for one in found}
        ctx.exit(next((code for code in (4, 1, 3) if code in codes), 0))


def _exit_code(found: Status) -> int:
    if found.exists is False:
        return 4
    if not found.known:
        return 1
    return 3 if found.pending else 0


def _lines(found: Status) -> dict[str, str | None]:
    if found.exists is False:
        return {"database": f"{found.database} does not exist", "head": found.head}
    unknown = "" if found.known else " (not known to this release)"
    revision = (found.revision and found.revision + unknown) or (
        f"none; it has the shape of {found.shape}, and upgrade will adopt it there"
        if found.shape
        else "none"
    )
    return {
        "database": found.database,
        "revision": revision,
        "head": found.head,
        "pending": None if found.misfit else ", ".join(found.pending) or "nothing",
        "misfit": found.misfit,
        "size": None if found.size_bytes is None else f"{found.size_bytes / 2**20:.1f} MiB",
        "journal mode": found.journal_mode,
        # Only a file has backups of ours.
        "last backup": found.last_backup or (None if found.exists is None else "none"),
    }


@click.command()
@url_option
@schema_option
@json_option
@click.pass_context
def check(ctx: click.Context, url: str | None, schema: str | None, *, as_json: bool) -> None:
    """Compare the database with the models, and look for broken foreign keys.

    Each difference is a line that says what is missing or otherwise; what only the database has is
    none. A database with pending revisions is not compared. Exits with 1 if anything was found,
    with 4 if there is no such file.

    \b
    Examples:
      shortsdb check                      after an upgrade, or before a release
      shortsdb check --json               for programs
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import parse_target
    from shortsdb.migration import (
        alembic_config,
        find_drift,
        outdated,
        read_only_connection,
        read_status,
    )
    from shortsdb.sqlite.foreign_keys import broken_keys

    target = parse_target(url, schema)
    status = read_status(target, "off")
    why_not = outdated(status)
    with read_only_connection(target) as connection:
        broken = broken_keys(connection.connection) if target.file else []
        drift = [] if why_not else find_drift(alembic_config(), connection)
    if as_json:
        found = {"outdated": why_not, "drift": drift, "broken_keys": list(map(asdict, broken))}
        click.echo(json.dumps(found))
    else:
        for line in drift:
            say(line)
        if drift:
            say(
                "The database is not what the models say. Where the models were changed, write a "
                "revision (alembic revision --autogenerate); where the database was, put back "
                "what is missing, or restore a backup."
            )
        else:
            say(why_not or "The schema is what the models say.")
        for key in broken:
            say(
                f"{key.table} ({key.columns}): {key.rows} rows point to rows of "
                f"{key.referred_table} that are not there"
            )
        # Of a file that is not there, or of other software, nobody asked.
        if not broken and status.known and status.exists is not False:
            say("No foreign key is broken.")
    if status.exists is False:
        ctx.exit(4)
    if why_not or drift or broken:
        ctx.exit(1)
