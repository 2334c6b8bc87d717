"""shortsdb diagram."""

from __future__ import annotations

from typing import TextIO

import click


@click.command()
@click.option(
    "--format",
    "language",
    type=click.Choice(["mermaid", "svg"]),
    default="mermaid",
    show_default=True,
    help="Mermaid's text, which GitHub draws in a Markdown file, or a picture.",
)
@click.option(
    "-o",
    "--output",
    type=click.File("w", encoding="utf-8", lazy=True),
    default="-",
    help="The file to write, instead of standard output.",
)
def diagram(language: str, output: TextIO) -> None:
    """Draw the tables of the models and how they point to each other.

    Looks at no database. The same models give the same diagram. Needs the extra `diagram`: pip
    install 'shortsdb[diagram]'.

    \b
    Examples:
      shortsdb diagram                    Mermaid's text
      shortsdb diagram --format svg -o schema.svg
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    try:
        from shortsdb import diagram as diagrams
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is not installed: pip install 'shortsdb[diagram]'"
        ) from error
    from shortsdb.models import metadata

    draw = {"mermaid": diagrams.mermaid, "svg": diagrams.svg}[language]
    output.write(draw(metadata))
