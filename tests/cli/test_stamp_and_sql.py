"""What an operator does without a checkout: stamp, a printed script, and python -m shortsdb."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from click.testing import CliRunner, Result
from inspect_sqlite import execute, file_hash, history, row_hashes, version
from project import HEAD

from shortsdb.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database


def run(*arguments: str, **options: str) -> Result:
    return CliRunner().invoke(main, arguments, **options)  # type: ignore[arg-type]


def test_stamp_writes_the_version_and_nothing_else(deployed_file: Path, tmp_path: Path) -> None:
    url = ("--url", str(deployed_file))
    before = row_hashes(deployed_file), file_hash(deployed_file)
    unanswered = run("stamp", "0001", *url)
    assert unanswered.exit_code == 1
    assert f"Let {deployed_file} say that it is at 0001, without looking" in unanswered.output
    assert "--yes answers for a script" in unanswered.output
    assert file_hash(deployed_file) == before[1]
    assert run("stamp", "0001", *url, input="y\n").exit_code == 0
    assert version(deployed_file) == ["0001"]
    execute(deployed_file, "UPDATE alembic_version SET version_num = '0042'")
    refused = run("stamp", "0001", "--yes", *url)
    assert refused.exit_code == 1
    assert run("stamp", "0001", "--purge", "--yes", *url).exit_code == 0
    assert version(deployed_file) == ["0001"]
    assert history(deployed_file) == [("stamp", None, "0001"), ("stamp", "0042", "0001")]
    assert row_hashes(deployed_file) == before[0]
    missing = run("stamp", "0001", "--yes", "--url", str(tmp_path / "no.db"))
    assert "no.db does not exist" in missing.output
    assert not (tmp_path / "no.db").exists()


def test_upgrade_prints_sql_without_a_database(tmp_path: Path, target: Database) -> None:
    made = tmp_path / "made.db"
    script = run("upgrade", "--sql", "--url", str(tmp_path / "no.db")).stdout
    execute(made, script)
    assert version(made) == [HEAD]
    assert run("check", "--url", str(made)).exit_code == 0
    assert not (tmp_path / "no.db").exists()
    step = run("upgrade", "0007:0008", "--sql", "--url", target.url).stdout
    assert "CREATE TABLE error_logs" in step
    assert "CREATE TABLE scripts" not in step
    target.psql(run("upgrade", "--sql", "--url", target.url).stdout)
    assert json.loads(run("status", "--json", "--url", target.url).stdout)["revision"] == HEAD
    refused = run("upgrade", "0007:0008", "--url", str(made))
    assert refused.exit_code == 2
    assert "FROM:TO is for --sql" in refused.output
    assert run("downgrade", "0008:0007", "--url", str(made)).exit_code == 2
    three = run("upgrade", "0006:0007:0008", "--sql", "--url", target.url)
    assert three.exit_code == 2
    assert "this is no revision" in three.output


def test_the_package_is_a_program(deployed_file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shortsdb", "status", "--json", "--url", deployed_file],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["shape"] == "0001"
