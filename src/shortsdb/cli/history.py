"""shortsdb history."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from shortsdb.cli.options import json_option, schema_option, url_option
from shortsdb.cli.output import say, say_table

if TYPE_CHECKING:
    from shortsdb.sqlite.history import Applied


@click.command()
@url_option
@schema_option
@json_option
def history(url: str | None, schema: str | None, *, as_json: bool) -> None:
    """List the upgrades, downgrades, stamps and adoptions of the database.

    Oldest first, with times in UTC: how many seconds each took, how many of these others could not
    write, and the release of shortsdb. --json also has the backup, the correlation id of the log,
    and the checksums of the revisions. What was done by a release without a history, or by a SQL
    script, is not in it.

    \b
    Examples:
      shortsdb history                    for people
      shortsdb history --json             for programs
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import parse_target
    from shortsdb.migration import read_applied

    found = read_applied(parse_target(url, schema))
    if as_json:
        click.echo(json.dumps([asdict(migration) for migration in found]))
    elif found:
        say_table(("when", "what", "from", "to", "seconds", "locked", "release"), map(_row, found))
    else:
        say("Nothing is recorded: no migration of this release has changed the database.")


def _row(migration: Applied) -> tuple[object, ...]:
    return (
        migration.applied_at[:19].replace("T", " "),
        migration.action,
        migration.from_revision,
        migration.to_revision,
        migration.seconds,
        migration.seconds_locked,
        migration.package_version,
    )
