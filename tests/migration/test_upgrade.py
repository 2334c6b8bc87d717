"""Upgrades from every starting point, downgrades to every revision, with rows in all tables."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import legacy_database
import pytest
from alembic import command
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from inspect_sqlite import (
    BOOKKEEPING,
    columns,
    execute,
    file_hash,
    row_hashes,
    same_data,
    schema,
    version,
)
from project import HEAD, ROOT
from sample_rows import fill_new_tables
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from starts import (
    REVISIONS,
    STARTS,
    create_all,
    empty_file,
    empty_version_table,
    no_file,
    unversioned,
)

from shortsdb.migration import MigrationRefused
from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import metadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project import Program

DEPLOYED = {"discovered_videos", "pipeline_runs", "clips"}


def upgrade(path: Path, revision: str = "head") -> None:
    command.upgrade(alembic_config(str(path)), revision)


def downgrade(path: Path, revision: str) -> None:
    command.downgrade(alembic_config(str(path)), revision)


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__)
def test_every_starting_point_reaches_head(start: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "start.db"
    start(path)
    before = tmp_path / "before.db"
    if path.exists():
        shutil.copy(path, before)

    upgrade(path)

    assert version(path) == [HEAD]
    assert columns(path).keys() >= metadata.tables.keys()
    if before.exists():
        assert same_data(before, path)
    command.check(alembic_config(str(path)))  # raises on any difference


def test_an_upgrade_logs_its_steps(alembic: Program, tmp_path: Path) -> None:
    legacy_database.make(tmp_path / "d.db")
    done = alembic("-x", "url=d.db", "upgrade", "head")
    assert done.returncode == 0
    assert "d.db has no version; its tables are those of revision 0001" in done.stderr
    assert "upgrade 0002: The scripts table" in done.stderr
    assert f"d.db is now at {HEAD}" in done.stderr
    assert f"d.db is at {HEAD} already" in alembic("-x", "url=d.db", "upgrade", "head").stderr


def test_one_step_down_and_up_again_at_every_revision(tmp_path: Path) -> None:
    path = tmp_path / "steps.db"
    create_all(path)
    upgrade(path)
    for revision in reversed(REVISIONS[:-1]):
        downgrade(path, "-1")
        assert version(path) == [revision]
        schema_below, rows_below = schema(path), row_hashes(path)
        upgrade(path, "+1")
        downgrade(path, "-1")
        assert schema(path) == schema_below
        assert row_hashes(path) == rows_below
    assert row_hashes(path).keys() == DEPLOYED


def test_downgrade_to_0001_leaves_exactly_the_deployed_schema(deployed_file: Path) -> None:
    schema_before, rows_before = schema(deployed_file), row_hashes(deployed_file)
    upgrade(deployed_file)
    fill_new_tables(deployed_file)
    downgrade(deployed_file, "0001")
    schema_after = schema(deployed_file)
    for table in BOOKKEEPING:
        del schema_after[table]
    assert schema_after == schema_before
    assert row_hashes(deployed_file) == rows_before
    upgrade(deployed_file)
    assert row_hashes(deployed_file).items() >= rows_before.items()


def test_a_new_file_at_0001_is_like_a_deployed_one(deployed_file: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    upgrade(new, "0001")
    built = schema(new)
    assert {name: built[name] for name in built if name not in BOOKKEEPING} == schema(deployed_file)


def run_in_an_environment_of_others(path: Path, method: str, revision: str) -> None:
    """Run revisions as an env.py does that plans nothing, and looks at no row."""
    config = alembic_config()
    script = ScriptDirectory.from_config(config)
    engine = create_engine(f"sqlite:///{path}")

    def steps(heads: Any, _: object) -> Any:  # noqa: ANN401 - Alembic's own
        return getattr(script, method)(revision, heads)

    try:
        with engine.connect() as connection, EnvironmentContext(config, script, fn=steps) as alone:
            alone.configure(connection=connection)
            with alone.begin_transaction():
                alone.run_migrations()
            connection.commit()
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("kind", "name"), re.findall(r"CREATE (TABLE|INDEX) (\w+)", BASELINES["0001"])
)
def test_the_first_revision_passes_over_nothing_by_itself(
    tmp_path: Path, kind: str, name: str
) -> None:
    path = tmp_path / "d.db"
    taken = {"TABLE": "TABLE {} (a)", "INDEX": "INDEX {} ON other (a)"}[kind].format(name)
    execute(path, f"CREATE TABLE other (a); CREATE {taken}")
    with pytest.raises(OperationalError, match=f"{name} already exists"):
        run_in_an_environment_of_others(path, "_upgrade_revs", "0001")


@pytest.mark.parametrize("table", sorted(DEPLOYED))
def test_the_first_revision_refuses_by_itself_to_drop_a_row(
    deployed_file: Path, table: str
) -> None:
    upgrade(deployed_file, "0001")
    others = "".join(f"DELETE FROM {other};" for other in DEPLOYED - {table})
    execute(deployed_file, others)
    before = row_hashes(deployed_file)
    with pytest.raises(CommandError, match=f"below 0001 would drop {table} with the rows in it"):
        run_in_an_environment_of_others(deployed_file, "_downgrade_revs", "base")
    assert row_hashes(deployed_file) == before
    execute(deployed_file, f"DELETE FROM {table}")
    run_in_an_environment_of_others(deployed_file, "_downgrade_revs", "base")
    assert schema(deployed_file).keys() == set(BOOKKEEPING)


@pytest.mark.parametrize("table", sorted(DEPLOYED))
def test_downgrade_to_base_refuses_while_a_deployed_table_holds_a_row(
    tmp_path: Path, table: str
) -> None:
    path = legacy_database.make(tmp_path / "d.db")
    upgrade(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        for other in DEPLOYED - {table}:
            connection.execute(f"DELETE FROM {other}")
    before = file_hash(path)
    with pytest.raises(CommandError, match=rf"would drop {table} with the rows in it"):
        downgrade(path, "base")
    assert file_hash(path) == before


def test_downgrade_to_base_works_on_empty_tables_and_upgrades_again(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    upgrade(path)
    downgrade(path, "base")
    assert schema(path).keys() == set(BOOKKEEPING)
    upgrade(path)
    assert version(path) == [HEAD]


@pytest.mark.parametrize("revision", ["0001", "base", "-1"])
def test_downgrade_of_an_unversioned_file_refuses(deployed_file: Path, revision: str) -> None:
    before = file_hash(deployed_file)
    with pytest.raises(CommandError):
        downgrade(deployed_file, revision)
    assert file_hash(deployed_file) == before


def test_stamp_sets_the_version(deployed_file: Path) -> None:
    command.stamp(alembic_config(str(deployed_file)), "0001")
    assert version(deployed_file) == ["0001"]


def test_an_unversioned_file_is_upgraded_to_the_given_revision(tmp_path: Path) -> None:
    path = legacy_database.make(tmp_path / "d.db")
    upgrade(path, "+1")
    assert version(path) == ["0002"]
    assert row_hashes(path).keys() == DEPLOYED | {"scripts"}


def test_a_failing_revision_leaves_nothing_behind(deployed_file: Path) -> None:
    upgrade(deployed_file, "0001")
    with closing(sqlite3.connect(deployed_file)) as connection:
        connection.execute("CREATE VIEW config_overrides AS SELECT 1")  # 0007 cannot
    before = file_hash(deployed_file)
    with pytest.raises(MigrationRefused, match="config_overrides already exists"):
        upgrade(deployed_file)
    assert file_hash(deployed_file) == before


@pytest.mark.parametrize(
    ("kind", "name"),
    re.findall(r"CREATE (TABLE|INDEX) (\w+)", BASELINES["0008"].removeprefix(BASELINES["0001"])),
)
def test_a_name_that_is_taken_is_not_passed_over(deployed_file: Path, kind: str, name: str) -> None:
    upgrade(deployed_file, "0001")
    taken = {"TABLE": "TABLE {} (a)", "INDEX": "INDEX {} ON clips (id)"}[kind].format(name)
    execute(deployed_file, f"CREATE {taken}")
    before = file_hash(deployed_file)
    with pytest.raises(MigrationRefused, match=f"{name} already exists"):
        upgrade(deployed_file)
    assert file_hash(deployed_file) == before


def test_an_upgrade_does_not_wait_for_the_import_of_the_models(deployed_file: Path) -> None:
    program = (
        "import sys; from alembic.config import main; main(['-c', *sys.argv[1:]]);"
        "print({'shortsdb.models', 'sqlalchemy.orm'} & sys.modules.keys())"
    )
    arguments = [str(ROOT / "alembic.ini"), "-x", f"url={deployed_file}", "upgrade", "head"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
    assert version(deployed_file) == [HEAD]


@pytest.mark.parametrize(
    "start", [no_file, empty_file, unversioned, empty_version_table, create_all]
)
@pytest.mark.parametrize(
    "arguments", [["current"], ["check"], ["history", "-i"], ["downgrade", "0001"]]
)
def test_read_only_commands_do_not_write(
    alembic: Program, tmp_path: Path, start: Callable[[Path], None], arguments: list[str]
) -> None:
    path = tmp_path / "look.db"
    start(path)
    before = file_hash(path) if path.exists() else None
    done = alembic("-x", f"url={path}", *arguments)
    assert "Traceback" not in done.stderr
    assert (file_hash(path) if path.exists() else None) == before
