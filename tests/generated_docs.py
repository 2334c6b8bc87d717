"""Writes the pages that are made from the source, and README's figures: `make docs`."""

from __future__ import annotations

import re
from pathlib import Path

from api_page import api_page
from readme_figures import README, readme_page
from schema_page import schema_page, schema_picture

DOCS = Path(__file__).parents[1] / "docs"

_DECISIONS = """\
# Decisions

One page each: what was decided, why, and what it costs. 00x are about the schema, 01x about
migrations, 02x about the application's side and the safety of the file, 03x about PostgreSQL, 04x
about the command, logs, health and diagram, 05x about the docs, 06x about the
benchmarks, 07x about speed. This list is made by `make docs`.

"""


def decisions_page() -> str:
    """Return the list of the decisions, by the title of each page."""
    pages = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    titles = [page.read_text(encoding="utf-8").partition("\n")[0] for page in pages]
    return _DECISIONS + "".join(
        f"- {page.name[:3]}: [{re.sub('^# ([0-9]+: )?', '', title)}]({page.name})\n"
        for page, title in zip(pages, titles, strict=True)
    )


FILES = {
    README: readme_page,
    DOCS / "decisions" / "README.md": decisions_page,
    DOCS / "api.md": api_page,
    DOCS / "schema.md": schema_page,
    DOCS / "schema.svg": schema_picture,
}

if __name__ == "__main__":
    for file, page in FILES.items():
        file.write_text(page(), encoding="utf-8")
