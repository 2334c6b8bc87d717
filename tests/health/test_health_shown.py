"""Values from a database are shortened and escaped before they are shown."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from asgi import ask
from click.testing import CliRunner
from inspect_sqlite import execute
from sqlalchemy import create_engine as plain_engine
from web_application import application

from shortsdb.cli import main
from shortsdb.database import check_db_health, init_db
from shortsdb.engine import create_engine
from shortsdb.printable import VALUE_LENGTH, printable
from shortsdb.sqlite.backup import make_backup

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 1_000


def test_a_version_of_any_length_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    init_db(path).dispose()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", ("9\n" * 5_000_000,))
    engine = create_engine(path)
    health = check_db_health(engine)
    shown = health.revision or ""
    assert shown.startswith("9\\n9\\n")
    assert "characters left out" in shown
    assert len(shown) < LIMIT
    assert health.problems == (f"it is at revision {shown}, which this release does not know",)
    ready, found = ask(application(engine), "/health/ready", "/health/db")
    assert ready.status_code == 503
    assert ready.json() == {
        "status": "not ready",
        "reason": "unknown revision",
        "revision": shown,
    }
    assert len(found.content) < 2 * LIMIT
    printed = CliRunner().invoke(main, ["health", "--url", str(path)]).stdout
    assert len(printed) < 2 * LIMIT
    assert "\n9\n" not in printed
    as_json = CliRunner().invoke(main, ["health", "--json", "--url", str(path)]).stdout
    assert json.loads(as_json)["revision"] == shown
    engine.dispose()


def test_many_versions_are_shortened(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    init_db(path).dispose()
    execute(
        path,
        "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
        "INSERT INTO alembic_version SELECT 'v' || i FROM n",
    )
    engine = create_engine(path)
    health = check_db_health(engine, thorough=False)
    assert health.known is False
    assert len(str(health)) < 2 * LIMIT
    engine.dispose()


def test_names_of_broken_keys_are_shortened(tmp_path: Path) -> None:
    name = "t\x1b[2J" + "x" * 10_000
    path = tmp_path / "x.db"
    init_db(path).dispose()
    execute(
        path, f'CREATE TABLE "{name}" (c REFERENCES clips (id)); INSERT INTO "{name}" VALUES (77)'
    )
    engine = create_engine(path)
    (problem,) = check_db_health(engine).problems
    assert problem.startswith("1 rows of t\\x1b[2Jxxx")
    assert problem.endswith("xxx point to rows of clips that are not there")
    assert len(problem) < LIMIT
    engine.dispose()


def test_messages_of_a_driver_are_shortened(tmp_path: Path) -> None:
    engine = plain_engine(f"postgresql+psycopg://u@/{'d' * 100_000}?host={tmp_path}")
    health = check_db_health(engine)
    assert health.error is not None
    assert "\n" not in health.error
    assert len(health.error) < 11 * LIMIT  # a message may be longer than a value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0008", "0008"),
        ("ключ 猫", "ключ 猫"),
        ("a\r\n\t\x00\x7f\u202e\udc80", "a\\r\\n\\t\\x00\\x7f\\u202e\\udc80"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 75 + "… (51 characters left out) …" + "x" * 75),
    ],
)
def test_shown(value: str, shown: str) -> None:
    assert printable(value, VALUE_LENGTH) == shown


def test_the_command_is_as_thorough_and_as_modest_as_it_is_told(
    head_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.db"
    shutil.copy(head_file, path)
    execute(path, "INSERT INTO shorts (pipeline_run_id) VALUES (77)")
    for arguments, exit_code, writable in (
        ([], 0, True),
        (["--read-only"], 0, None),
        (["--thorough"], 1, True),
    ):
        command = ["health", "--json", *arguments, "--url", str(path)]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == exit_code
        assert json.loads(done.stdout)["writable"] is writable


def test_the_command_looks_for_backups_in_the_folder_that_is_named(
    head_file: Path, tmp_path: Path
) -> None:
    path, folder = tmp_path / "x.db", tmp_path / "elsewhere"
    shutil.copy(head_file, path)
    folder.mkdir()
    made = make_backup(path, "0008", folder)
    for arguments, last in (([], None), (["--backup", str(folder)], str(made))):
        command = ["health", "--json", *arguments, "--url", str(path)]
        assert json.loads(CliRunner().invoke(main, command).stdout)["last_backup"] == last
