"""What commands print, safe for a terminal, and how they ask."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from shortsdb import streams
from shortsdb.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def say(text: object) -> None:
    """Print one line of a result; it stays one line whatever names are in it."""
    click.echo(printable(text))


def say_fields(fields: Mapping[str, object], colours: Mapping[str, str]) -> None:
    """Print a line for each field that is not None, coloured by its name on a terminal."""
    for name, value in fields.items():
        if value is not None:
            text = printable(value)
            if name in colours:
                text = click.style(text, fg=colours[name])
            click.echo(f"{name + ':':<14}{text}")


def say_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below their titles, each column as wide as it must be; None is a dash."""
    lines = [
        ["-" if value is None else printable(value) for value in row] for row in (titles, *rows)
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def mebibytes(size: int | None) -> str | None:
    """Return a number of bytes for people; None if it is not known."""
    return None if size is None else f"{size / 2**20:.1f} MiB"


def revision_or_shape(revision: str | None, shape: str | None) -> str:
    """Return what to print as the revision of a database, which may have none."""
    return revision or (f"none; it has the shape of {shape}" if shape else "none")


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
