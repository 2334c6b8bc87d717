"""Links in pages have targets, and the changelog links every revision."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from project import HEAD, ROOT

from shortsdb import __version__

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_ANCHOR = re.compile(r'^<a id="([a-z0-9-]+)"></a>$', re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: its own, and those that GitHub makes of headings."""
    text = page.read_text(encoding="utf-8")
    headings = _HEADING.findall(text)
    made = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
    return made.union(_ANCHOR.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_a_target(page: Path) -> None:
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    broken = []
    for link in _LINK.findall(text):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_the_changelog_links_every_revision() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for file in sorted((ROOT / "alembic" / "versions").glob("*.py")):
        link = f"[{file.name[:4]}](alembic/versions/{file.name})"
        assert link in changelog, f"add a line to the newest release in CHANGELOG.md: - {link}: …"
    newest = _HEADING.findall(changelog)[1]
    assert newest.startswith(f"{__version__} ")
    assert f"revision {HEAD}" in newest, f"end the newest heading with: revision {HEAD}"
