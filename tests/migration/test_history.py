"""The history: what was done to a database, written in the transaction that did it."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from alembic import command
from click.testing import CliRunner, Result
from inspect_sqlite import execute, file_hash, history, row_hashes, schema
from project import HEAD
from sqlalchemy import NullPool, create_engine

from shortsdb import __version__
from shortsdb.cli import main
from shortsdb.database import drop_db, init_db
from shortsdb.migration import MigrationRefused
from shortsdb.migration.history import read_history, record
from shortsdb.migration.plan import Plan
from shortsdb.migration.revisions import alembic_config, checksum, revision_checksums
from shortsdb.sqlite.history import Applied, changed_revisions

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database

ADOPTED = [("adoption", None, "0001"), ("upgrade", "0001", HEAD)]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def upgrade(path: Path, revision: str = "head") -> None:
    command.upgrade(alembic_config(str(path), backup="off"), revision)


def test_every_change_is_written_down(deployed_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORTSDB_CORRELATION_ID", "deploy-7")
    command.upgrade(alembic_config(str(deployed_file)), "head")
    config = alembic_config(str(deployed_file))
    command.downgrade(config, "0001")
    command.stamp(config, "0002")
    command.stamp(config, "0002")  # changes nothing
    command.upgrade(config, "0002")
    url = ("--url", str(deployed_file))
    adoption, up, down, stamp = json.loads(run("history", "--json", *url).output)
    assert [adoption["action"], up["action"], down["action"], stamp["action"]] == [
        "adoption",
        "upgrade",
        "downgrade",
        "stamp",
    ]
    assert history(deployed_file) == [
        *ADOPTED,
        ("downgrade", HEAD, "0001"),
        ("stamp", "0001", "0002"),
    ]
    expected = {name: found for name, found in revision_checksums().items() if name != "0001"}
    assert up["checksums"] == expected
    assert down["checksums"] == stamp["checksums"] == {}
    assert up["correlation_id"] == "deploy-7"
    assert up["package_version"] == __version__
    assert up["seconds"] >= up["seconds_locked"] > 0
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"
    assert re.fullmatch(moment, up["applied_at"])
    assert f"{deployed_file.parent}/backups/deployed.0001" in up["backup"]
    assert stamp["backup"] is None
    lines = run("history", *url).output.splitlines()
    assert lines[0].split() == ["when", "what", "from", "to", "seconds", "locked", "release"]
    assert lines[2].split()[2:5] == ["upgrade", "0001", HEAD]


def test_it_is_part_of_the_transaction(deployed_file: Path) -> None:
    """Else a killed upgrade would leave one without the other; tests/crash kills at every point."""
    execute(deployed_file, "CREATE TABLE shortsdb_history (something_else TEXT)")
    before = schema(deployed_file)
    with pytest.raises(MigrationRefused, match="shortsdb_history"):
        upgrade(deployed_file)
    assert schema(deployed_file) == before


def test_it_goes_on_after_rows_of_it_were_deleted(deployed_file: Path) -> None:
    upgrade(deployed_file, "0002")
    execute(deployed_file, "DELETE FROM shortsdb_history WHERE number = 1")
    upgrade(deployed_file, "0003")
    assert history(deployed_file) == [("upgrade", "0001", "0002"), ("upgrade", "0002", "0003")]


def test_a_file_of_an_earlier_release_has_none(head_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    shutil.copy(head_file, path)
    execute(path, "DROP TABLE shortsdb_history")
    before = file_hash(path)
    assert "Nothing is recorded" in run("history", "--url", str(path)).output
    assert run("history", "--json", "--url", str(path)).output == "[]\n"
    assert run("check", "--url", str(path)).exit_code == 0
    assert file_hash(path) == before
    command.downgrade(alembic_config(str(path)), "0007")
    assert history(path) == [("downgrade", HEAD, "0007")]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    found = run("history", "--url", str(tmp_path / "d.db"))
    assert found.exit_code == 1
    assert "d.db does not exist" in found.output
    assert not list(tmp_path.iterdir())


def test_nothing_else_sees_it(deployed_file: Path) -> None:
    """It has no rows of anybody, is no table of other software and none of the pipeline."""
    before = row_hashes(deployed_file)
    url = ("--url", str(deployed_file))
    upgrade(deployed_file)
    assert run("check", *url).output.startswith("The schema is what the models say.")
    command.check(alembic_config(str(deployed_file)))
    command.downgrade(alembic_config(str(deployed_file), backup="off"), "0001")
    assert row_hashes(deployed_file) == before
    execute(deployed_file, "DELETE FROM alembic_version")
    upgrade(deployed_file)  # adopted again, by its three tables
    assert history(deployed_file) == [*ADOPTED, ("downgrade", HEAD, "0001"), *ADOPTED]


def test_it_is_no_row_to_back_up_and_outlives_the_last_table(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    config = alembic_config(str(path))
    command.upgrade(config, "head")
    command.downgrade(config, "base")
    command.upgrade(config, "head")
    assert history(path) == [
        ("upgrade", None, HEAD),
        ("downgrade", HEAD, None),
        ("upgrade", None, HEAD),
    ]
    assert list(tmp_path.iterdir()) == [path]
    engine = init_db(path)
    drop_db(engine, confirm=True, confirm_again=True)
    engine.dispose()
    assert not schema(path)


def test_check_says_which_revision_is_no_longer_what_was_applied(
    deployed_file: Path,
) -> None:
    upgrade(deployed_file)
    url = ("--url", str(deployed_file))
    assert json.loads(run("check", "--json", *url).output)["changed_revisions"] == []
    sums = json.dumps(revision_checksums() | {"0005": "0" * 64})
    execute(deployed_file, f"UPDATE shortsdb_history SET checksums = '{sums}' WHERE number = 2")
    found = run("check", *url)
    assert found.exit_code == 1
    assert "Revision 0005 of this release is not the text that was applied" in found.output
    assert json.loads(run("check", "--json", *url).output)["changed_revisions"] == ["0005"]
    command.downgrade(alembic_config(str(deployed_file), backup="off"), "0004")
    upgrade(deployed_file)  # it is applied as it is now
    assert run("check", *url).exit_code == 0


def test_what_counts_is_what_is_applied_now(tmp_path: Path) -> None:
    def migration(to: str, **checksums: str) -> Applied:
        return Applied("", "", None, to, 0, 0, "", None, None, checksums)

    up = migration("0003", **{"0002": "a", "0003": "b"})
    assert changed_revisions([up], {"0002": "a", "0003": "x"}) == ["0003"]
    assert changed_revisions([up, migration("0002")], {"0002": "a", "0003": "x"}) == []
    assert changed_revisions([up], {"0002": "a"}) == []  # of a newer release
    for name, end in (("unix", b"\n"), ("windows", b"\r\n")):
        (tmp_path / name).write_bytes(b"one" + end + b"two" + end)
    assert checksum(tmp_path / "unix") == checksum(tmp_path / "windows")


def test_on_postgresql(target: Database) -> None:
    url = ("--url", target.url)
    lower = f"{int(HEAD) - 1:04}"
    assert run("upgrade", lower, *url).exit_code == 0
    assert run("upgrade", *url).exit_code == 0
    assert run("downgrade", "-1", "--yes", *url).exit_code == 0
    found = json.loads(run("history", "--json", *url).output)
    assert [(one["action"], one["from_revision"], one["to_revision"]) for one in found] == [
        ("upgrade", None, lower),
        ("upgrade", lower, HEAD),
        ("downgrade", HEAD, lower),
    ]
    assert found[1]["checksums"] == {HEAD: revision_checksums()[HEAD]}
    assert run("upgrade", *url).exit_code == 0
    assert run("check", *url).exit_code == 0
    target.psql(
        "UPDATE shortsdb_history SET checksums = replace(checksums, '0003\": \"', '0003\": \"x')"
    )
    assert "Revision 0003 of this release" in run("check", *url).output
    target.psql("DROP TABLE shortsdb_history")
    assert run("history", "--json", *url).output == "[]\n"


@pytest.mark.parametrize(
    "change",
    ["checksums = 'not json'", "checksums = '[1]'", "applied_at = x'ff'", "seconds = 'soon'"],
)
def test_a_row_of_somebody_else_is_refused(deployed_file: Path, change: str) -> None:
    upgrade(deployed_file)
    execute(deployed_file, f"UPDATE shortsdb_history SET {change}")
    for name in ("history", "check"):
        refused = run(name, "--url", str(deployed_file))
        assert refused.exit_code == 1
        assert "holds a row that shortsdb has not written" in refused.output


def test_seconds_are_those_since_the_beginning_and_the_lock(
    head_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.db"
    shutil.copy(head_file, path)
    execute(path, "DELETE FROM shortsdb_history")
    clock = SimpleNamespace(monotonic=lambda: 9.5)
    monkeypatch.setattr("shortsdb.migration.history.time", clock)
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.begin() as connection:
        record(connection, Plan((HEAD,), None), (), begun=1.0124, locked=2.0126)
        (stamp,) = read_history(connection)
    assert (stamp.seconds, stamp.seconds_locked) == (8.488, 7.487)
    assert stamp.backup is stamp.to_revision is None


def test_the_name_of_a_backup_is_printable(head_file: Path, tmp_path: Path) -> None:
    """A path need be neither UTF-8 nor one line."""
    path = tmp_path / "d.db"
    shutil.copy(head_file, path)
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    backup = tmp_path / "\udcff\n.db"
    with engine.begin() as connection:
        record(connection, Plan((HEAD,), None), (), begun=0, locked=0, backup=backup)
        assert read_history(connection)[-1].backup == f"{tmp_path}/\\udcff\\n.db"


def test_an_adoption_alone_is_one_row(deployed_file: Path) -> None:
    upgrade(deployed_file, "0001")
    assert history(deployed_file) == ADOPTED[:1]
