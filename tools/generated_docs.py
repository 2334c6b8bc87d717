"""Writes what is made from the source: pages, and the repositories that nobody writes by hand."""

from __future__ import annotations

import re
from pathlib import Path

from api_page import api_page
from readme_figures import README, readme_page
from repositories import ASYNC, PACKAGE, SYNC, async_repositories, package, sync_repositories
from schema_page import schema_page, schema_picture

DOCS = Path(__file__).parents[1] / "docs"

DESIGN = DOCS / "design"
_DESIGN = """\
# Design

Why shortsdb is built as it is: the decisions, their reasons, the measurements behind them and what
they cost. Each page can be read from top to bottom. A number such as "decision 013" in a comment or
a commit message leads to one section. `make generate` generates this index.

| page | decisions |
|---|---|
"""
_NUMBERED = re.compile(r'^<a id="decision-(\d{3})"></a>$', re.MULTILINE)


def design_sections() -> list[tuple[str, str]]:
    """Return every numbered decision with the name of its page."""
    pages = sorted(page for page in DESIGN.glob("*.md") if page.stem != "README")
    return [
        (number, page.name)
        for page in pages
        for number in sorted(_NUMBERED.findall(page.read_text(encoding="utf-8")))
    ]


def design_index() -> str:
    """Return the list of the design pages, each with its numbered decisions."""
    numbers: dict[str, list[str]] = {}
    for number, name in design_sections():
        numbers.setdefault(name, []).append(f"[{number}]({name}#decision-{number})")
    rows = []
    for name, links in numbers.items():
        title = (DESIGN / name).read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        rows.append(f"| [{title}]({name}) | {', '.join(links)} |\n")
    return "".join([_DESIGN, *rows])


# In this order: the pages are made from the repositories too.
FILES = {
    ASYNC: async_repositories,
    SYNC: sync_repositories,
    PACKAGE: package,
    README: readme_page,
    DESIGN / "README.md": design_index,
    DOCS / "reference" / "api.md": api_page,
    DOCS / "reference" / "schema.md": schema_page,
    DOCS / "reference" / "schema.svg": schema_picture,
}


def write() -> None:
    """Write every file that is made from the source."""
    for file, page in FILES.items():
        file.write_text(page(), encoding="utf-8")
