"""shortsdb plan says what a migration would do, and rehearse does it to a copy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import extra_revision
import pytest
from alembic import command
from click.testing import CliRunner, Result
from inspect_sqlite import execute, file_hash, row_hashes, version
from project import HEAD, NEXT

from shortsdb.cli import main
from shortsdb.migration import preview_migration
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import metadata
from shortsdb.target import Target

if TYPE_CHECKING:
    from alembic.config import Config
    from postgresql_server import Database

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT 1 FROM clips").fetchone()
print(flush=True)
sys.stdin.read()
"""
NEW = metadata.tables.keys() - {"discovered_videos", "pipeline_runs", "clips"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_plan_says_what_an_upgrade_would_do(deployed_file: Path, tmp_path: Path) -> None:
    before = file_hash(deployed_file)
    url = ("--url", str(deployed_file))
    found = json.loads(run("plan", "--json", *url).stdout)
    assert (found["at"], found["adopts"], found["to"]) == ("0001", True, HEAD)
    assert list(found["revisions"]) == [f"{number:04}" for number in range(2, int(HEAD) + 1)]
    assert found["revisions"]["0002"].startswith("The scripts table")
    assert {one["table"]: one["effect"] for one in found["tables"]} == dict.fromkeys(NEW, "created")
    assert found["backup_folder"] == str(tmp_path / "backups")
    assert found["backup_bytes"] == deployed_file.stat().st_size
    assert found["backup_free_bytes"] > 0
    assert run("plan", "--exit-code", *url).exit_code == 3
    text = run("plan", *url).stdout
    assert "now at:       none: it has the shape of 0001" in text
    assert "MiB in" in text
    assert file_hash(deployed_file) == before
    assert list(tmp_path.iterdir()) == [deployed_file]
    run("upgrade", *url)
    nothing = run("plan", "--exit-code", *url)
    assert nothing.exit_code == 0
    assert "Nothing is to be done." in nothing.stdout


def test_plan_says_what_a_downgrade_would_drop(full_file: Path) -> None:
    found = json.loads(run("plan", "0006", "--json", "--url", str(full_file)).stdout)
    assert list(found["revisions"]) == [f"{number:04}" for number in range(int(HEAD), 6, -1)]
    effects = {one["table"]: one for one in found["tables"]}
    for table in ("config_overrides", "error_logs"):
        assert effects[table]["effect"] == "dropped"
    assert effects["error_logs"]["rows"] == 2
    assert effects["error_logs"]["size_bytes"] > 0
    assert run("plan", "-1", "--json", "--url", str(full_file)).exit_code == 0
    assert version(full_file) == [HEAD]


def test_plan_tells_a_rebuild_from_a_change_in_place(full_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "revisions"
    folder.mkdir()
    extra_revision.add(
        folder,
        "with op.batch_alter_table('clips', recreate='always') as batch:\n"
        "    batch.add_column(sa.Column('score', sa.Float))\n"
        "op.add_column('scripts', sa.Column('score', sa.Float))\n"
        "op.execute('DROP TABLE error_logs')",
        attributes='changes_rows = {"clips": "they get a score"}',
    )
    found = preview_migration(
        Target.parse(str(full_file)), extra_revision.config(folder, full_file), "head"
    )
    assert found.to == NEXT
    assert {(one.table, one.effect) for one in found.tables} == {
        ("clips", "rebuilt"),
        ("scripts", "altered"),
        ("error_logs", "dropped"),
    }
    assert found.changes_rows == {"clips": "they get a score"}


def test_plan_of_a_new_database_creates_none(tmp_path: Path) -> None:
    found = json.loads(run("plan", "--json", "--url", str(tmp_path / "new.db")).stdout)
    assert (found["at"], found["backup_folder"], found["open_by"]) == (None, None, None)
    assert len(found["tables"]) == len(metadata.tables)
    assert not list(tmp_path.iterdir())


def test_plan_says_who_has_the_file_open(deployed_file: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, deployed_file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = json.loads(run("plan", "--json", "--url", str(deployed_file)).stdout)
        assert any(name.endswith(f"({process.pid})") for name in found["open_by"])
        process.communicate()
    found = json.loads(run("plan", "--json", "--url", str(deployed_file)).stdout)
    assert found["open_by"] == []


def test_the_sql_of_a_plan_does_the_same(deployed_file: Path, tmp_path: Path) -> None:
    by_script = tmp_path / "by_script.db"
    by_script.write_bytes(deployed_file.read_bytes())
    script = run("plan", "--sql", "--url", str(by_script)).stdout
    execute(by_script, script)
    assert version(by_script) == [HEAD]
    assert run("check", "--url", str(by_script)).exit_code == 0
    back = run("plan", "0001", "--sql", "--url", str(by_script)).stdout
    execute(by_script, back)
    assert version(by_script) == ["0001"]
    assert row_hashes(by_script) == row_hashes(deployed_file)
    assert run("plan", "0001", "--sql", "--url", str(by_script)).stdout == ""


@pytest.mark.parametrize(
    ("change", "revision", "phrase"),
    [
        ("ALTER TABLE clips DROP COLUMN end_time_seconds", "head", "does not fit the schema"),
        ("SELECT 1", "0001", ""),
        ("SELECT 1", "-1", "has no version, so there is nothing to downgrade"),
        ("SELECT 1", "0042", "this release knows 0001 to"),
    ],
)
def test_plan_is_refused_like_the_migration(
    deployed_file: Path, change: str, revision: str, phrase: str
) -> None:
    execute(deployed_file, change)
    refused = run("plan", revision, "--url", str(deployed_file))
    assert refused.exit_code == bool(phrase)
    assert phrase in refused.output


def test_plan_refuses_to_drop_rows_of_the_pipeline(full_file: Path) -> None:
    refused = run("plan", "base", "--url", str(full_file))
    assert refused.exit_code == 1
    assert "downgrade below 0001 would drop clips, discovered_videos" in refused.output


def test_plan_on_postgresql(target: Database) -> None:
    run("upgrade", "0007", "--url", target.url)
    target.psql("INSERT INTO config_overrides VALUES ('k', 'v', now(), 'me')")
    up = json.loads(run("plan", "--json", "--url", target.url).stdout)
    assert (up["at"], up["to"], list(up["revisions"])[-1]) == ("0007", HEAD, HEAD)
    down = json.loads(run("plan", "-1", "--json", "--url", target.url).stdout)
    (dropped,) = down["tables"]
    assert (dropped["table"], dropped["effect"], dropped["rows"]) == (
        "config_overrides",
        "dropped",
        1,
    )
    assert dropped["size_bytes"] > 0
    sql = run("plan", "--sql", "--url", target.url).stdout
    assert "CREATE TABLE error_logs" in sql
    assert "BIGINT" in sql or "TIMESTAMP WITH TIME ZONE" in sql
    refused = run("rehearse", "--url", target.url)
    assert refused.exit_code == 2
    assert "createdb --template" in refused.output


@pytest.mark.parametrize("start", ["deployed", "head"])
def test_a_rehearsal_leaves_the_database_as_it_was(
    deployed_file: Path, tmp_path: Path, start: str
) -> None:
    if start == "head":
        command.upgrade(alembic_config(str(deployed_file), backup="off"), "head")
    before = file_hash(deployed_file)
    revision = {"deployed": "head", "head": "0001"}[start]
    done = run("rehearse", revision, "--json", "--url", str(deployed_file))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["ok"]
    assert (found["at"], found["to"]) == {"deployed": ("0001", HEAD), "head": (HEAD, "0001")}[start]
    assert found["seconds"] >= found["seconds_locked"] > 0
    assert found["seconds_back"] > 0
    assert found["peak_bytes"] >= deployed_file.stat().st_size  # the backup
    assert found["rows"] == 60
    assert "compared:" in run("rehearse", revision, "--url", str(deployed_file)).stdout
    assert file_hash(deployed_file) == before
    assert list(tmp_path.iterdir()) == [deployed_file]


def test_a_rehearsal_says_which_rows_are_others(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = command.upgrade

    def and_lose_a_row(config: Config, revision: str) -> None:
        upgrade(config, revision)
        copy = Path(config.attributes["url"])
        execute(copy, "DELETE FROM clips WHERE id = 1; UPDATE pipeline_runs SET niche = 'x'")

    monkeypatch.setattr(command, "upgrade", and_lose_a_row)
    done = run("rehearse", "--json", "--url", str(deployed_file))
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["changed"] == found["changed_back"] == ["clips", "pipeline_runs"]


def test_there_is_nothing_to_rehearse(full_file: Path, tmp_path: Path) -> None:
    for arguments, phrase in (
        (("--url", str(full_file)), "there is nothing to rehearse"),
        (("--url", str(tmp_path / "no.db")), "no.db does not exist"),
        (("0042", "--url", str(full_file)), "this release knows 0001 to"),
    ):
        refused = run("rehearse", *arguments)
        assert refused.exit_code == 1
        assert phrase in refused.output
    assert {path.name for path in tmp_path.iterdir()} == {"deployed.db"}


def test_plan_and_rehearse_take_tables_of_others_into_account(
    deployed_file: Path, tmp_path: Path
) -> None:
    execute(
        deployed_file,
        "DELETE FROM clips; DELETE FROM discovered_videos; DELETE FROM pipeline_runs;"
        ' CREATE TABLE "a""b" (x); INSERT INTO "a""b" VALUES (1)',
    )
    assert "backup:" in run("plan", "--url", str(deployed_file)).output
    refused = run("plan", "--url", str(deployed_file), "--backup", str(tmp_path / "nowhere"))
    assert refused.exit_code == 1
    assert "nowhere does not exist" in refused.output
    assert run("rehearse", "--url", str(deployed_file)).exit_code == 0


def test_plan_refuses_what_an_upgrade_would_for_a_path_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = ("--url", str(tmp_path / "unmounted" / "a.db"))
    assert "unmounted does not exist; check the path" in run("plan", *url).output
    monkeypatch.setenv("SHORTSDB_MUST_EXIST", "1")
    refused = run("plan", "--url", str(tmp_path / "typo.db"))
    assert refused.exit_code == 1
    assert "must exist" in refused.output


def test_plan_and_rehearse_say_that_there_is_too_little_room(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = ("--url", str(deployed_file))
    size = deployed_file.stat().st_size
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=size - 1))
    assert "too little, so it would be refused" in run("plan", *url).output
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4 * size - 1))
    refused = run("rehearse", *url)
    assert refused.exit_code == 1
    assert "MiB are needed" in refused.output
    assert list(deployed_file.parent.iterdir()) == [deployed_file]
