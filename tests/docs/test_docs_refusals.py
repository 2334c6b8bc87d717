"""docs/reference/refusals.md explains every refusal in the source."""

from __future__ import annotations

import re

import refusal_texts
from generated_docs import DOCS

# The text in backquotes in the first cell of a row.
_ENTRY = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)


def entries() -> list[str]:
    """Return the parts of messages that the page explains."""
    page = (DOCS / "reference" / "refusals.md").read_text(encoding="utf-8")
    return _ENTRY.findall(page)


def explained(text: str) -> bool:
    """Return whether an entry is part of the text; the text "…: …" has its own entry."""
    return any(entry in text for entry in entries() if entry != "…: …") or text == "…: …"


def test_every_refusal_is_explained() -> None:
    texts = refusal_texts.texts()
    assert len(texts) > 40
    # Texts without words consist of other texts, which are checked separately.
    worded = [text for text in texts if re.search(r"\w", text)]
    missing = [f"{texts[text]}: {text}" for text in worded if not explained(text)]
    assert not missing, "docs/reference/refusals.md has no entry for\n" + "\n".join(missing)


def test_every_schema_mismatch_is_explained() -> None:
    phrases = refusal_texts.schema_mismatches()
    assert len(phrases) >= 11
    assert set(phrases) <= set(entries())


def test_every_explained_message_exists() -> None:
    said = [*refusal_texts.texts(), *refusal_texts.schema_mismatches()]
    stale = [entry for entry in entries() if not any(entry in text for text in said)]
    assert not stale
