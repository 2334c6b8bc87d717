"""shortsdb health."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from shortsdb.cli.options import backup_option, json_option, schema_option, url_option
from shortsdb.cli.output import mebibytes, revision_or_shape, say_fields

if TYPE_CHECKING:
    from shortsdb.health import Health


@click.command()
@url_option
@schema_option
@backup_option
@json_option
@click.option(
    "--thorough",
    is_flag=True,
    help="Read a whole SQLite file, for damage and broken foreign keys; seconds for some hundred "
    "megabytes.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="How long the database may take to answer; 30 for a server, no limit for SQLite.",
)
@click.option(
    "--max-backup-age",
    metavar="HOURS",
    type=click.FloatRange(min=0, min_open=True),
    help="How old the last backup of a SQLite file may be.",
)
@click.option(
    "--read-only",
    is_flag=True,
    help="Of a user who monitors a SQLite file and need not be able to write it.",
)
def health(  # noqa: PLR0913 - one parameter for each option
    url: str | None,
    schema: str | None,
    backup: str | None,
    timeout: float | None,
    max_backup_age: float | None,
    *,
    as_json: bool,
    thorough: bool,
    read_only: bool,
) -> None:
    """Say whether the database can be reached, is current and sound.

    For monitoring: exits with 0 if nothing is wrong, with 1 otherwise. Changes and creates nothing.

    \b
    Examples:
      shortsdb health --json              what a probe asks every minute
      shortsdb health --thorough          what a timer asks every night
      shortsdb health --max-backup-age 26 after nightly backups
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.cli.target import parse_target

    target = parse_target(url, schema)
    if target.file is None and max_backup_age is not None:
        raise click.UsageError("this is for SQLite files; a server has backups of its own")
    if target.file is not None:
        from shortsdb.health import check_file_health

        found = check_file_health(
            target.file,
            backup=backup,
            thorough=thorough,
            read_only=read_only,
            timeout_seconds=timeout,
        )
    else:
        from shortsdb.engine import create_engine
        from shortsdb.health import check_db_health
        from shortsdb.migration import create_migration_engine

        create_migration_engine(target, changes=False)  # refuses a driver that is not there
        engine = create_engine(target.url, schema=target.schema)
        try:
            found = check_db_health(
                engine, backup=backup, thorough=thorough, timeout_seconds=timeout
            )
        finally:
            engine.dispose()
    found = found.limit_backup_age(max_backup_age)
    if as_json:
        click.echo(json.dumps(found.fields(target.name)))
    else:
        say_fields(_lines(target.name, found), {"problems": "green" if found.ok else "red"})
    if not found.ok:
        click.get_current_context().exit(1)


def _lines(database: str, found: Health) -> dict[str, str | None]:
    latency, age = found.latency_seconds, found.last_backup_age_seconds
    return {
        "database": database,
        "reachable": "yes" if found.reachable else "no",
        "revision": revision_or_shape(found.revision, found.shape) if found.reachable else None,
        "head": found.head,
        "pending": (", ".join(found.pending) or "nothing") if found.reachable else None,
        "writable": {True: "yes", False: "no", None: None}[found.writable],
        "journal mode": found.journal_mode,
        "size": mebibytes(found.size_bytes),
        "free space": mebibytes(found.free_bytes),
        "last backup": found.last_backup,
        "backup age": None if age is None else f"{age / 3600:.1f} h",
        "latency": None if latency is None else f"{latency * 1000:.1f} ms",
        "problems": "; ".join(found.problems) or "none",
        "error": found.error,
    }
