"""Logs: one correlation id per operation, plain or JSON; applications keep their own logging."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from project import HEAD, PROGRAMS, ROOT, Program

from shortsdb.cli import main
from shortsdb.database import init_db
from shortsdb.log import operation
from shortsdb.sqlite.backup import make_backup

if TYPE_CHECKING:
    from pathlib import Path


def shortsdb(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAMS / "shortsdb", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def records(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def test_every_record_of_a_command_is_json_and_has_one_correlation_id(deployed_file: Path) -> None:
    ids = set()
    backup = deployed_file.with_name("first.db")
    shutil.copy(deployed_file, backup)
    for arguments, number in (
        (["upgrade"], int(HEAD) + 2),  # backup, adoption, all revisions but 0001, result
        (["downgrade", "-1", "--yes"], 3),
        (["backup"], 1),
        (["restore", backup, "--yes"], 2),
    ):
        done = shortsdb(*arguments, "--url", deployed_file, SHORTSDB_LOG="json")
        assert done.returncode == 0
        found = records(done.stderr)
        assert len(found) == number
        (correlation_id,) = {record["correlation_id"] for record in found}
        assert len(correlation_id) == 32
        ids.add(correlation_id)
        for record in found:
            assert record.keys() == {"time", "level", "logger", "message", "correlation_id"}
            assert record["level"] == "INFO"
            assert record["logger"].startswith(("shortsdb.migration.", "shortsdb.sqlite."))
            assert record["time"].endswith("+00:00")
    assert len(ids) == 4


def test_a_command_inside_an_application_is_one_operation(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The application has set up logging, so that the command does not."""
    monkeypatch.setenv("SHORTSDB_BACKUP_KEEP", "1")
    caplog.set_level("INFO", "shortsdb")
    for _ in range(2):
        caplog.clear()
        CliRunner().invoke(main, ["backup", "--url", str(deployed_file)])
    made, deleted = caplog.records
    assert deleted.getMessage().startswith("deleted the old backup")
    assert vars(made)["correlation_id"] == vars(deleted)["correlation_id"] is not None


def test_an_unknown_log_format_is_reported(deployed_file: Path) -> None:
    done = shortsdb("status", "--url", deployed_file, SHORTSDB_LOG="xml")
    assert done.returncode == 0
    assert done.stderr == "WARNING SHORTSDB_LOG is 'xml': only json is known\n"


def test_the_correlation_id_can_be_set(deployed_file: Path, alembic: Program) -> None:
    given = {"SHORTSDB_URL": str(deployed_file), "SHORTSDB_CORRELATION_ID": "deploy-7"}
    done = shortsdb("upgrade", SHORTSDB_LOG="json", **given)
    assert {record["correlation_id"] for record in records(done.stderr)} == {"deploy-7"}
    done = alembic("downgrade", "-1", **given)
    assert len(done.stderr.splitlines()) == 3
    for line in done.stderr.splitlines():
        assert line.startswith("INFO    ")
        assert line.endswith(" [deploy-7]")


def test_the_alembic_program_logs_the_same(deployed_file: Path, alembic: Program) -> None:
    done = alembic("upgrade", "head", SHORTSDB_URL=str(deployed_file), SHORTSDB_LOG="json")
    found = records(done.stderr)
    assert len(found) == int(HEAD) + 2
    assert len({record["correlation_id"] for record in found}) == 1
    done = alembic("downgrade", "-1", SHORTSDB_URL=str(deployed_file))
    assert done.stderr.startswith("INFO    backup of ")


@pytest.mark.parametrize("program", ["alembic", "shortsdb"])
def test_a_refusal_is_a_record_too(tmp_path: Path, program: str) -> None:
    ini = ["-c", str(ROOT / "alembic.ini")] if program == "alembic" else []
    done = subprocess.run(
        [PROGRAMS / program, *ini, "upgrade", "head"],
        env={**os.environ, "SHORTSDB_URL": str(tmp_path), "SHORTSDB_LOG": "json"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    (record,) = records(done.stderr)
    assert record["level"] == "ERROR"
    assert record["message"] == f"{tmp_path} is a folder, not a database file"
    assert record["correlation_id"]


def test_an_applications_handlers_get_the_correlation_id(
    deployed_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shortsdb")
    init_db(deployed_file).dispose()
    first = {vars(record)["correlation_id"] for record in caplog.records}
    assert len(first) == 1
    caplog.clear()
    with operation():
        for _ in range(2):
            make_backup(deployed_file, None, deployed_file.parent / "backups")
        init_db(deployed_file).dispose()
    assert len(caplog.records) == 3
    second = {vars(record)["correlation_id"] for record in caplog.records}
    assert len(second) == 1
    assert first != second


def test_the_alembic_program_keeps_the_logging_of_an_application(tmp_path: Path) -> None:
    script = f"""
import logging, alembic.config
logging.basicConfig(level="INFO", format="mine %(name)s %(message)s")
mine = logging.getLogger("mine")
before = logging.root.handlers[:], logging.root.level
alembic.config.main(["-c", {str(ROOT / "alembic.ini")!r}, "-x", "url=d.db", "upgrade", "head"])
assert (logging.root.handlers, logging.root.level) == before
assert not mine.disabled
mine.info("still here")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "SHORTSDB_LOG": "json"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"mine shortsdb.migration.environment upgrade {HEAD}: " in done.stderr
    assert done.stderr.splitlines()[-1] == "mine mine still here"
    assert "{" not in done.stderr
