"""What commands print, safe for a terminal, and how they ask."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

import click

from shortsdb import streams
from shortsdb.log import get_logger
from shortsdb.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

log = get_logger(__name__)


def say(text: object, colour: str | None = None) -> None:
    """Print one line of a result; it stays one line whatever names are in it."""
    click.secho(printable(text), fg=colour)


def say_fields(fields: Mapping[str, object], colours: Mapping[str, str]) -> None:
    """Print a line for each field that is not None, coloured by its name on a terminal."""
    for name, value in fields.items():
        if value is not None:
            text = click.style(printable(value), fg=colours.get(name))
            click.echo(f"{name + ':':<14}{text}")


def ask(question: str) -> None:
    """Ask, and return if the answer is yes.

    Raises:
        click.Abort: The answer is no.
        click.ClickException: Nobody could read the question or answer it.
    """
    try:
        agreed = click.confirm(printable(question))
    except click.Abort:  # also the end of the input
        if sys.stdin.isatty():
            raise
        click.echo()
        raise click.ClickException(
            "nobody answered, so nothing was done; --yes answers for a script"
        ) from None
    if streams.output_failure():
        raise click.ClickException("the question could not be printed, so nothing was done")
    if not agreed:
        raise click.Abort


def settle_output(*, work_is_done: bool) -> None:
    """Say if the result could not be printed, at the end of a command.

    A reader that has left, such as `head`, is no failure: it has read what it wanted.

    Args:
        work_is_done: The command has changed or made something, which counts more than its report.

    Raises:
        click.ClickException: The report was all that the command is for.
    """
    failure = streams.output_failure()
    if failure is None or failure.errno == errno.EPIPE:
        return
    if not work_is_done:
        raise click.ClickException(f"standard output could not be written ({failure.strerror})")
    log.warning("done, but standard output could not be written (%s)", failure.strerror)
