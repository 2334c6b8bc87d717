"""shortsdb plan and rehearse."""

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
)
from shortsdb.cli.output import mebibytes, say, say_fields, say_table

if TYPE_CHECKING:
    from shortsdb.migration import Preview

_SIGNED = {"ignore_unknown_options": True}  # -1 is a revision


@click.command(context_settings=_SIGNED)
@click.argument("revision", default="head", callback=revision_id)
@url_option
@schema_option
@backup_option
@json_option
@click.option("--sql", is_flag=True, help="Print the SQL that would be run, and nothing else.")
@click.option("--exit-code", is_flag=True, help="Exit with 3 if there is anything to do.")
@click.pass_context
def plan(  # noqa: PLR0913 - one parameter for each option
    ctx: click.Context,
    revision: str,
    url: str | None,
    schema: str | None,
    backup: str | None,
    *,
    as_json: bool,
    sql: bool,
    exit_code: bool,
) -> None:
    """Say what an upgrade or downgrade to REVISION would do, by default to the newest.

    Changes nothing: reads the database, and runs the revisions on an empty one in memory. Says
    which revisions are run, which tables are created, dropped, rebuilt (their rows are copied) or
    altered in place, how large the backup becomes, and who has the file open, as far as this user
    can see.

    \b
    Examples:
      shortsdb plan                       before `shortsdb upgrade`
      shortsdb plan 0001                  before `shortsdb downgrade 0001`
      shortsdb plan --sql > upgrade.sql
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import parse_target
    from shortsdb.migration import alembic_config, preview_migration, print_sql

    target = parse_target(url, schema)
    found = preview_migration(target, alembic_config(), revision, backup)
    if sql:
        print_sql(alembic_config(url, schema=schema), found)
    elif as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        _say(found)
    if exit_code and found.revisions:
        ctx.exit(3)


def _say(found: Preview) -> None:
    in_use = None if found.open_by is None else ", ".join(found.open_by) or "nobody that is seen"
    backup = None
    if found.backup_folder is not None:
        free, size = mebibytes(found.backup_free_bytes), mebibytes(found.backup_bytes)
        little = (found.backup_free_bytes or 0) < (found.backup_bytes or 0)
        backup = f"{size} in {found.backup_folder}, which has {free} free"
        backup += ": too little, so it would be refused" * little
    say_fields(
        {
            "database": found.database,
            "now at": "none: it has the shape of " * found.adopts + (found.at or "none: it is new"),
            "then at": found.to or "none",
            "backup": backup,
            "open by": in_use,
        },
        {},
    )
    if not found.revisions:
        say("Nothing is to be done.")
        return
    say_table(("revision", "what it is"), found.revisions.items())
    say_table(
        ("table", "becomes", "rows", "size"),
        [(one.table, one.effect, one.rows, mebibytes(one.size_bytes)) for one in found.tables],
    )
    for table, reason in found.changes_rows.items():
        say(f"rows of {table} are changed: {reason}")


@click.command(context_settings=_SIGNED)
@click.argument("revision", default="head", callback=revision_id)
@url_option
@json_option
@click.pass_context
def rehearse(ctx: click.Context, revision: str, url: str | None, *, as_json: bool) -> None:
    """Migrate a copy of the SQLite database to REVISION and back, and compare.

    Makes a checked copy beside the database, migrates it with a backup as the real one would be,
    compares every row of before, checks the schema and foreign keys, goes back, and compares again.
    The copy is deleted, and the database is only read. Needs room for four copies. Exits with 1 if
    anything differs that a revision does not declare.

    On PostgreSQL, do it to a copy that the server makes: createdb --template NAME rehearsal, then
    shortsdb upgrade with the URL of that.

    \b
    Examples:
      shortsdb rehearse                   before an upgrade of a large or precious file
      shortsdb rehearse 0001              before a downgrade
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import parse_target, refuse_missing
    from shortsdb.migration import rehearse as rehearse_file

    target = parse_target(url)
    if target.file is None:
        raise click.UsageError(
            "this is for SQLite files; on PostgreSQL upgrade a copy that the server makes: "
            "createdb --template NAME rehearsal"
        )
    refuse_missing(target)
    found = rehearse_file(target.file, revision)
    if as_json:
        click.echo(json.dumps({"database": target.name, "ok": found.ok, **asdict(found)}))
    else:
        say_fields(
            {
                "database": target.name,
                "rehearsed": f"{found.at or 'none'} to {found.to or 'none'}, and back",
                "took": f"{found.seconds:.2f} s, of which others wait {found.seconds_locked:.2f} s",
                "way back": f"{found.seconds_back:.2f} s",
                "peak disk": f"{mebibytes(found.peak_bytes)} besides the database",
                "compared": f"{found.rows} rows of before",
                "changed": ", ".join(found.changed) or "nothing",
                "after back": ", ".join(found.changed_back) or "nothing changed",
                "schema": "; ".join(found.drift) or "ok",
                "foreign keys": "; ".join(found.broken_keys) or "ok",
            },
            {},
        )
    if not found.ok:
        ctx.exit(1)
