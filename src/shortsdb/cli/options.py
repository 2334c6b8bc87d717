"""The options and arguments that commands share, and what they refuse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from shortsdb import settings

if TYPE_CHECKING:
    from pathlib import Path


def not_empty(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty argument: an unset variable of a script must not mean something else."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty")
    return value


def revision_id(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse what is no revision, such as a path or URL, without repeating it."""
    not_empty(ctx, parameter, value)
    if not re.fullmatch(r"[\w+-]+", value):
        raise click.BadParameter("this is no revision; a database is named by --url")
    return value


def revision_range(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse what is neither a revision nor two with a colon between them."""
    for part in value.split(":", 1):
        revision_id(ctx, parameter, part)
    return value


def plausible_path(
    _ctx: click.Context, _parameter: click.Parameter, value: str | None
) -> Path | None:
    """Return the absolute path that was given, and refuse what may hold a password."""
    from shortsdb.errors import OperationRefused
    from shortsdb.paths import plausible_path as parse

    if value is None:
        return None
    try:
        return parse(value)
    except OperationRefused as error:
        raise click.BadParameter(str(error)) from None


def plausible_paths(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> list[Path]:
    """Return the absolute paths that were given, as `plausible_path` does."""
    return [path for value in values if (path := plausible_path(ctx, parameter, value))]


url_option = click.option(
    "--url",
    callback=not_empty,
    envvar=settings.URL,
    show_envvar=True,
    metavar="URL|PATH",
    help="The database, as URL or path; ./shortsdb.db where nothing is said.",
)
schema_option = click.option(
    "--schema",
    callback=not_empty,
    metavar="NAME",
    help="The schema of a PostgreSQL database, such as one for each channel; SHORTSDB_SCHEMA, or "
    "the first of the search_path, where nothing is said.",
)
backup_option = click.option(
    "--backup",
    envvar=settings.BACKUP,
    show_envvar=True,
    metavar="off|DIR",
    help="Where the backup of a SQLite file goes; the folder backups beside it where nothing is "
    "said.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
