"""The options that commands share."""

from __future__ import annotations

import click


def not_empty(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty argument: an unset variable of a script must not mean something else."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty")
    return value


url_option = click.option(
    "--url",
    callback=not_empty,
    envvar="SHORTSDB_URL",
    show_envvar=True,
    metavar="URL|PATH",
    help="The database, as URL or path; ./shortsdb.db where nothing is said.",
)
backup_option = click.option(
    "--backup",
    envvar="SHORTSDB_BACKUP",
    show_envvar=True,
    metavar="off|DIR",
    help="Where the backup of a SQLite file goes; the folder backups beside it where nothing is "
    "said.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
