"""A database whose version is an empty string is unhealthy and not compared with the models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from inspect_sqlite import execute

from shortsdb.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def empty(deployed_file: Path) -> Path:
    execute(
        deployed_file,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);"
        "INSERT INTO alembic_version VALUES ('')",
    )
    return deployed_file


@pytest.mark.parametrize("command", ["check", "health", "upgrade"])
def test_an_empty_version_is_unknown(empty: Path, command: str) -> None:
    done = CliRunner().invoke(main, [command, "--url", str(empty)])
    assert done.exit_code == 1
    assert "at revision ''," in done.output


def test_status_shows_an_empty_version(empty: Path) -> None:
    done = CliRunner().invoke(main, ["status", "--json", "--url", str(empty)])
    found = json.loads(done.output)
    assert (found["revision"], found["known"]) == ("''", False)


def test_a_database_with_an_empty_version_can_be_backed_up_and_restored(empty: Path) -> None:
    done = CliRunner().invoke(main, ["backup", "--url", str(empty)])
    assert done.exit_code == 0
    copy = done.stdout.strip()
    done = CliRunner().invoke(main, ["restore", copy, "--yes", "--url", str(empty)])
    assert done.exit_code == 0, done.output
