"""The shortsdb command: the migrations of this release, for machines without a checkout."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_url = click.option(
    "--url",
    envvar="SHORTSDB_URL",
    show_envvar=True,
    help="The database, as URL or path; ./shortsdb.db where nothing is said.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shortsdb")
def main() -> None:
    """Create, upgrade and downgrade the database of the Shorts pipeline."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)-7s %(message)s")
    logging.getLogger("shortsdb").setLevel(logging.INFO)


@main.command()
@click.argument("revision", default="head")
@_url
def upgrade(revision: str, url: str | None) -> None:
    """Upgrade the database to REVISION, by default to the newest.

    Creates the database if there is none, and recognises a deployed one that has no version yet.
    """
    from alembic import command  # noqa: PLC0415 - half a second that --help need not wait for

    _run(command.upgrade, revision, url)


@main.command()
@click.argument("revision")
@_url
@click.confirmation_option(
    prompt="Tables newer than that revision go, with the rows in them. Continue?"
)
def downgrade(revision: str, url: str | None) -> None:
    """Downgrade the database to REVISION; 0001 is the schema before shortsdb."""
    from alembic import command  # noqa: PLC0415 - as above

    _run(command.downgrade, revision, url)


def _run(command: Callable[..., None], revision: str, url: str | None) -> None:
    from alembic.util import CommandError  # noqa: PLC0415 - as above

    from shortsdb.config import alembic_config  # noqa: PLC0415 - as above

    try:
        command(alembic_config(url), revision)
    except CommandError as error:
        raise click.ClickException(str(error)) from error
