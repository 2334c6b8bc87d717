"""How a command runs: its transaction, its errors, what it logs, and the script that it prints."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import extra_revision
import pytest
from alembic import command
from alembic.util import CommandError
from inspect_sqlite import execute, file_hash, version
from project import HEAD
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import OperationalError

from shortsdb.errors import OperationRefused
from shortsdb.migration import MigrationRefused, alembic_config, preview_migration, print_sql
from shortsdb.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database
    from project import Program


@pytest.fixture
def path(head_file: Path, tmp_path: Path) -> Path:
    """Return a file at head."""
    path = tmp_path / "d.db"
    path.write_bytes(head_file.read_bytes())
    return path


def test_a_read_only_command_reads_one_snapshot_and_cannot_write(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    seen: set[tuple[bool, int]] = set()

    def look(connection: Connection, _: object, statement: str, *_more: object) -> None:
        if "clips" in statement:
            driver: Any = connection.connection.driver_connection
            (query_only,) = driver.execute("PRAGMA query_only").fetchone()
            seen.add((driver.in_transaction, query_only))

    event.listen(engine, "after_cursor_execute", look)
    config = alembic_config()
    config.attributes["connection"] = engine
    command.check(config)
    assert seen == {(True, 1)}


def test_a_read_only_command_makes_no_version_table(deployed_file: Path, target: Database) -> None:
    before = file_hash(deployed_file)
    for url in (str(deployed_file), target.url):
        command.current(alembic_config(url))
        with pytest.raises(CommandError, match="Target database is not up to date"):
            command.check(alembic_config(url))
    assert file_hash(deployed_file) == before
    assert target.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0\n"


def test_a_file_that_is_not_there_is_made_by_an_upgrade_only(
    alembic: Program, tmp_path: Path
) -> None:
    command.current(alembic_config(str(tmp_path / "d.db")))
    for name in ("downgrade", "stamp"):
        done = alembic("-x", "url=d.db", name, "0001")
        assert f"{tmp_path}/d.db does not exist; nothing was created" in done.stdout
    assert not list(tmp_path.iterdir())


def test_what_changes_in_memory_would_be_lost() -> None:
    for name in ("upgrade", "downgrade", "stamp"):
        with pytest.raises(MigrationRefused, match="a database in memory is gone when the command"):
            getattr(command, name)(alembic_config(":memory:"), "0001")
    command.current(alembic_config(":memory:"))


@pytest.mark.parametrize("name", ["upgrade", "current"])
def test_an_error_of_sqlite_says_what_was_changed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "d.db"
    path.write_text("no database " * 100)
    with pytest.raises(MigrationRefused, match=r"is not an SQLite.*; nothing was changed") as found:
        getattr(command, name)(alembic_config(str(path)), *["head"] * (name == "upgrade"))
    assert isinstance(found.value.__cause__, sqlite3.DatabaseError)


def test_an_error_of_sqlalchemy_says_what_was_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0")
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(MigrationRefused, match=r"is locked.*; nothing was changed") as found:
            command.downgrade(alembic_config(str(path)), "-1")
    assert isinstance(found.value.__cause__, OperationalError)
    assert version(path) == [HEAD]


def test_a_name_that_is_not_utf_8_is_a_refusal(deployed_file: Path) -> None:
    execute(
        deployed_file,
        "PRAGMA writable_schema = ON; CREATE TABLE other (x);"
        "UPDATE sqlite_master SET name = x'6f7468ff', tbl_name = x'6f7468ff' WHERE name = 'other'",
    )
    with pytest.raises(MigrationRefused, match="holds an object whose name is not UTF-8"):
        command.upgrade(alembic_config(str(deployed_file)), "head")


def test_every_refusal_is_one_of_a_migration(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "soon")
    with pytest.raises(MigrationRefused, match="SHORTSDB_LOCK_TIMEOUT") as refused:
        command.upgrade(alembic_config(str(path)), "head")
    assert type(refused.value.__cause__) is OperationRefused


def test_a_step_too_many_is_a_refusal(path: Path) -> None:
    why = f"-100 didn't produce 100 migrations: this release knows 0001 to {HEAD}; nothing was"
    with pytest.raises(MigrationRefused, match=why):
        command.downgrade(alembic_config(str(path)), "-100")
    assert version(path) == [HEAD]


def test_another_error_of_alembic_is_raised_as_it_is(path: Path, tmp_path: Path) -> None:
    extra_revision.add(tmp_path, "from alembic.util import CommandError\nraise CommandError('why')")
    with pytest.raises(CommandError, match=r"^why$") as found:
        command.upgrade(extra_revision.config(tmp_path, str(path)), "head")
    assert not isinstance(found.value, MigrationRefused)


def test_the_records_of_a_command_have_one_correlation_id(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shortsdb.migration")
    found: list[str] = []
    for revision in ("0001", "0002"):
        caplog.clear()
        command.upgrade(alembic_config(str(tmp_path / "d.db")), revision)
        assert len(caplog.records) > 1
        (one,) = {vars(record)["correlation_id"] for record in caplog.records}
        found.append(one)
    assert all(found)
    assert found[0] != found[1]


def test_what_is_said_on_postgresql_and_what_a_revision_sees(
    target: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target.psql(f"ALTER DATABASE {target.name} SET default_transaction_isolation = 'serializable'")
    level = "CREATE TABLE level AS SELECT current_setting('transaction_isolation') AS name"
    extra_revision.add(tmp_path, f'op.execute("{level}")')
    extra_revision.add(tmp_path, "pass", attributes="transactional = False", place=2)
    caplog.set_level("INFO", "shortsdb.migration.environment")
    config = extra_revision.config(tmp_path, target.url)
    first, second = (extra_revision.number(place) for place in (1, 2))
    for revision, how in ((HEAD, "in one transaction"), (second, "step by step")):
        command.upgrade(config, revision)
        assert caplog.records[-1].getMessage().endswith(f"), {how}")
    said = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert said[1:3] == ["upgrade 0001", "upgrade 0002"]
    assert said[-3:-1] == [f"upgrade {first}", f"upgrade {second}"]
    # Else what others committed while the upgrade waited for its turn would not be seen.
    assert target.psql("SELECT name FROM level") == "read committed\n"


class Begun:
    """What connects and begins a transaction, as a wrapper of an application may."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    def connect(self) -> Connection:
        """Return a connection in a transaction."""
        connection = self.engine.connect()
        connection.begin()
        return connection


def test_a_transaction_that_is_begun_already_stays_as_it_is(target: Database) -> None:
    config = alembic_config()
    config.attributes["connection"] = Begun(create_engine(target.url, poolclass=NullPool))
    command.upgrade(config, "0001")  # which nobody commits
    assert target.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0\n"


def printed(path: Path, revision: str, capsys: pytest.CaptureFixture[str]) -> str:
    preview = preview_migration(Target.parse(str(path)), alembic_config(), revision)
    print_sql(alembic_config(str(path)), preview)
    return capsys.readouterr().out


def test_the_script_of_a_preview_does_what_it_says(
    deployed_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(deployed_file, printed(deployed_file, "0002", capsys))  # which adopts it
    assert version(deployed_file) == ["0002"]
    assert printed(deployed_file, "0002", capsys) == ""
    execute(deployed_file, printed(deployed_file, "0001", capsys))
    assert version(deployed_file) == ["0001"]
    new = tmp_path / "new.db"
    script = printed(new, "0002", capsys)
    assert not new.exists()
    execute(new, script)
    assert version(new) == ["0002"]
    with pytest.raises(CommandError, match="a printed script cannot look"):
        printed(new, "base", capsys)


URLS = {"sqlite": "d.db", "postgresql": "postgresql://u:s3cret@h/d"}


@pytest.mark.parametrize("backend", URLS)
def test_a_printed_script_has_its_values_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    table = "sa.table('config_overrides', sa.column('key', sa.Text), sa.column('value', sa.Text))"
    extra_revision.add(tmp_path, f"op.execute({table}.insert().values(key=\"it's\", value='5%'))")
    config = extra_revision.config(tmp_path, URLS[backend])
    command.upgrade(config, f"{HEAD}:head", sql=True)
    script = capsys.readouterr().out
    assert "VALUES ('it''s', '5%');" in script
    assert re.findall("BEGIN|INSERT|COMMIT", script) == ["BEGIN", "INSERT", "COMMIT"]


@pytest.mark.parametrize("backend", URLS)
def test_a_printed_script_commits_only_around_what_runs_alone_and_only_on_postgresql(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    for place in (1, 2, 3):
        alone = "transactional = False" if place == 2 else ""
        extra_revision.add(tmp_path, f"op.execute('SELECT {place}')", attributes=alone, place=place)

    def steps(name: str, revision: str) -> list[str]:
        getattr(command, name)(extra_revision.config(tmp_path, URLS[backend]), revision, sql=True)
        return re.findall(r"BEGIN|SELECT \d|COMMIT", capsys.readouterr().out)

    found = steps("upgrade", f"{HEAD}:head")
    if backend == "postgresql":
        assert [found.pop(found.index("SELECT 2") + step) for step in (-1, 1)] == [
            "COMMIT",
            "BEGIN",
        ]
    assert found == ["BEGIN", "SELECT 1", "SELECT 2", "SELECT 3", "COMMIT"]
    assert steps("stamp", extra_revision.number(2)) == ["BEGIN", "COMMIT"]
