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
    revision_range,
    schema_option,
    url_option,
    yes_option,
)
from shortsdb.cli.output import ask, mebibytes, say, say_fields
from shortsdb.log import get_logger

if TYPE_CHECKING:
    from shortsdb.migration import Status

# The shortcut below logs under the same name as the normal path, so that a filter catches both.
log = get_logger("shortsdb.migration.environment")

# Alembic and SQLAlchemy take half a second to import: functions import what they use.


@click.command()
@click.argument("revision", default="head", callback=revision_range)
@url_option
@schema_option
@backup_option
@click.option(
    "--must-exist",
    is_flag=True,
    help="Refuse where there is no database yet, as SHORTSDB_MUST_EXIST=1 does.",
)
@click.option("--sql", is_flag=True, help="Print the SQL instead, and connect to nothing.")
def upgrade(  # noqa: PLR0913 - one parameter for each option
    revision: str,
    url: str | None,
    schema: str | None,
    backup: str | None,
    *,
    must_exist: bool,
    sql: bool,
) -> None:
    """Upgrade the database to REVISION, by default to the newest.

    Creates the database if there is none, and recognises a deployed one that has no version yet.
    All revisions run in one transaction; a SQLite file that holds rows is backed up before. --sql
    prints what a new database needs, or what is between FROM:TO; `shortsdb plan --sql` prints what
    this database needs.

    \b
    Examples:
      shortsdb upgrade                    ./shortsdb.db, or what SHORTSDB_URL names
      shortsdb upgrade --must-exist       in a timer or unit: never a new, empty database
      shortsdb upgrade --url /srv/shorts/deployed.db --backup /srv/backups
      shortsdb upgrade 0007               not further than that
      shortsdb upgrade 0007:0008 --sql    from one revision to another
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import parse_target
    from shortsdb.migration import alembic_config, revision_ids
    from shortsdb.sqlite.version import is_at_head

    if sql:
        from alembic import command

        command.upgrade(alembic_config(url, schema=schema), revision, sql=True)
        return
    if ":" in revision:
        raise click.UsageError("FROM:TO is for --sql; an upgrade begins where the database is")
    file, head = parse_target(url, schema).file, revision_ids()[-1]
    if revision in {"head", head} and file is not None and is_at_head(file, head):
        log.info("%s is at %s already: nothing to do", file, head)
        return
    from alembic import command

    config = alembic_config(url, backup=backup, schema=schema, must_exist=must_exist or None)
    command.upgrade(config, revision)


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

    from shortsdb.cli.target import parse_target, refuse_missing
    from shortsdb.migration import alembic_config, preview_migration

    target = parse_target(url, schema)
    refuse_missing(target)
    if not yes:
        for one in preview_migration(target, alembic_config(), revision, back=True).tables:
            if one.effect == "dropped":
                say(f"{one.table} would go, with {one.rows} rows in it")
        ask(f"Downgrade to {revision}?")
    command.downgrade(alembic_config(url, backup=backup, schema=schema), revision)


@click.command()
@click.argument("revision", callback=revision_id)
@url_option
@schema_option
@click.option("--purge", is_flag=True, help="Whatever the version table says, even if it is wrong.")
@yes_option
def stamp(revision: str, url: str | None, schema: str | None, *, purge: bool, yes: bool) -> None:
    """Write REVISION into the version table, and change nothing else.

    For a database that is at REVISION and does not say so: one that fits several revisions, or
    whose version somebody has changed. Runs no revision and compares nothing; `shortsdb check` does
    afterwards. Asks before.

    \b
    Examples:
      shortsdb stamp 0008
      shortsdb stamp 0008 --purge --yes   over versions that this release does not know
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import parse_target, refuse_missing
    from shortsdb.migration import alembic_config

    target = parse_target(url, schema)
    refuse_missing(target)
    if not yes:
        ask(f"Let {target.name} say that it is at {revision}, without looking whether it is?")
    from alembic import command

    command.stamp(alembic_config(url, schema=schema), revision, purge=purge)


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
      shortsdb status --exit-code || shortsdb upgrade --must-exist
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
    unknown = "" if found.known or found.misfit else " (not known to this release)"
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
        "size": mebibytes(found.size_bytes),
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
    none. So is each revision that is no longer the one that was applied. A database with pending
    revisions is not compared. Exits with 1 if anything was found, with 4 if there is no such file.

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
        read_applied,
        read_only_connection,
        read_status,
        revision_checksums,
    )
    from shortsdb.sqlite.foreign_keys import broken_keys
    from shortsdb.sqlite.history import changed_revisions

    target = parse_target(url, schema)
    status = read_status(target, "off")
    why_not = outdated(status)
    applied = [] if status.exists is False else read_applied(target)
    changed = changed_revisions(applied, revision_checksums())
    with read_only_connection(target) as connection:
        broken = broken_keys(connection.connection) if target.file else []
        drift = [] if why_not else find_drift(alembic_config(), connection)
    if as_json:
        found = {
            "outdated": why_not,
            "drift": drift,
            "broken_keys": list(map(asdict, broken)),
            "changed_revisions": changed,
        }
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
        for revision in changed:
            say(
                f"Revision {revision} of this release is not the text that was applied to this "
                "database: somebody has changed it. Put it back, and write the change as a new "
                "revision (shortsdb history says when it was applied, and by which release)"
            )
        # Of a file that is not there, or of other software, nobody asked.
        if not broken and status.known and status.exists is not False:
            say("No foreign key is broken.")
    if status.exists is False:
        ctx.exit(4)
    if why_not or drift or broken or changed:
        ctx.exit(1)
