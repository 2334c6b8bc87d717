"""Generated pages are up to date, and every public name has a docstring."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import api_page
import generated_docs
import pytest
from project import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("file", generated_docs.FILES, ids=lambda file: file.name)
def test_a_generated_page_is_fresh(file: Path) -> None:
    held, fresh = file.read_text(encoding="utf-8"), generated_docs.FILES[file]()
    if file.suffix == ".svg":  # another release of Graphviz may put the same elsewhere
        held, fresh = (str(re.findall(r">([^<>]+)<", text)) for text in (held, fresh))
        assert "subscriber_gain" in fresh
    assert held == fresh, f"{file.name} is stale: run `make generate` and commit it"


def test_every_public_name_has_a_docstring() -> None:
    assert not api_page.undocumented()
    # Check that the search finds something, so that an empty result is meaningful.
    modules = {module.path for module in api_page.public_modules()}
    assert {"shortsdb.engine", "shortsdb.models", "shortsdb.migration"} <= modules
    assert api_page.api_page().count("\n### ") > 80


def test_every_mentioned_decision_has_one_section() -> None:
    numbers = [number for number, _ in generated_docs.design_sections()]
    assert len(numbers) == len(set(numbers))
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    sources = [
        file
        for folder in ("alembic", "benchmarks", "src", "tests")
        for file in (ROOT / folder).rglob("*.py")
    ]
    mentioned = {
        number
        for file in [*pages, *sources]
        for number in re.findall(r"[Dd]ecision (\d{3})\b", file.read_text(encoding="utf-8"))
    }
    assert "013" in mentioned  # so that there is something to find
    assert mentioned <= set(numbers)
