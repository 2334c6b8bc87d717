"""Every command shown in a page prints the shown output."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import shown_commands

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("file", shown_commands.PAGES, ids=lambda file: file.name)
def test_commands_of_a_page_print_the_shown_output(file: Path, tmp_path: Path) -> None:
    page = file.read_text(encoding="utf-8")
    shown = [command for block in shown_commands.blocks(page) for command in block.commands]
    printed = shown_commands.run(page, tmp_path / "shorts")
    assert len(printed) == len(shown) > 0
    for (command, expected), output in zip(shown, printed, strict=True):
        assert shown_commands.same(expected, output), (
            f"{file.name} shows another output of `{command}` than\n{output}"
            "If that is meant, run `make generate` and read the diff"
        )


@pytest.mark.parametrize("file", shown_commands.PAGES, ids=lambda file: file.name)
def test_every_shown_command_is_run(file: Path) -> None:
    """Exceptions give a reason, and every shown file is used by a command."""
    page = file.read_text(encoding="utf-8")
    outside_fences = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"\n\n {4}\S", outside_fences), "an indented block: fence it"
    blocks = shown_commands.blocks(page)
    assert page.count("\n```") == 2 * len(blocks)
    assert page.count("<!-- not run") == sum(block.reason is not None for block in blocks)
    for block in blocks:
        assert block.language in {"console", "python", "ini", "dockerfile", "cron", "mermaid"}
        if block.language == "python":
            assert block.file
            if "/" in block.file:  # a part of the project: the next commands run all of it
                continue
            after = page[block.start + len(block.text) :]
            assert re.search(
                rf"^\$ .*\b{re.escape(block.file.split('.')[0])}\b", after, re.MULTILINE
            )


def test_the_time_that_pytest_took_is_not_compared() -> None:
    shown = "88 passed in 30.02s\n"
    assert shown_commands.same(shown, "91 passed in 103.21s (0:01:43)\n")
    assert not shown_commands.same(shown, "90 passed, 1 failed in 103.21s (0:01:43)\n")
