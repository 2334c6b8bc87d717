"""Writes the pages of docs/ that are made from the source: `make docs`."""

from __future__ import annotations

from pathlib import Path

from api_page import api_page
from schema_page import schema_page, schema_picture

DOCS = Path(__file__).parents[1] / "docs"

FILES = {
    DOCS / "api.md": api_page,
    DOCS / "schema.md": schema_page,
    DOCS / "schema.svg": schema_picture,
}

if __name__ == "__main__":
    for file, page in FILES.items():
        file.write_text(page(), encoding="utf-8")
