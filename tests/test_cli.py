"""The shortsdb command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner
from inspect_sqlite import file_hash, row_hashes, version

from shortsdb.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def test_upgrade_and_downgrade(deployed_file: Path) -> None:
    before = row_hashes(deployed_file)
    url = ["--url", str(deployed_file)]
    assert CliRunner().invoke(main, ["upgrade", *url]).exit_code == 0
    assert version(deployed_file) == ["0008"]
    asked = CliRunner().invoke(main, ["downgrade", "0001", *url], input="n\n")
    assert asked.exit_code == 1
    assert version(deployed_file) == ["0008"]
    assert CliRunner().invoke(main, ["downgrade", "0001", "--yes", *url]).exit_code == 0
    assert version(deployed_file) == ["0001"]
    assert row_hashes(deployed_file) == before


def test_a_refusal_is_one_message_and_exit_code_1(deployed_file: Path) -> None:
    before = file_hash(deployed_file)
    environment = {"SHORTSDB_URL": str(deployed_file)}
    refused = CliRunner().invoke(main, ["downgrade", "0001", "--yes"], env=environment)
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: ")
    assert "has no version" in refused.output
    assert file_hash(deployed_file) == before
