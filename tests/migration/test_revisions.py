"""The history is linear, numbered and frozen with one head; and its output with --sql."""

from __future__ import annotations

import ast
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import extra_revision
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from inspect_sqlite import schema, version
from project import HEAD, NEXT, ROOT

from shortsdb.migration import revisions
from shortsdb.migration.revisions import alembic_config, revision_ids
from shortsdb.settings import DEFAULT_URL
from shortsdb.sqlite.history import HISTORY_TABLE

if TYPE_CHECKING:
    from pathlib import Path

    from project import Program

FILES = sorted((ROOT / "alembic" / "versions").glob("*.py"))


def test_history_is_linear_numbered_and_has_one_head() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    assert script.get_heads() == [f"{len(FILES):04}"] == [HEAD]
    newest_first = list(script.walk_revisions())
    assert [revision.revision for revision in newest_first] == [
        f"{number:04}" for number in range(len(FILES), 0, -1)
    ]
    assert [revision.down_revision for revision in newest_first[:-1]] == [
        revision.revision for revision in newest_first[1:]
    ]
    assert revision_ids() == [revision.revision for revision in reversed(newest_first)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_revision_does_not_import_shortsdb_and_explains_itself(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not any(name.name.startswith("shortsdb") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("shortsdb")
    docstring = ast.get_docstring(tree) or ""
    assert f"Revision ID: {file.stem[:4]}" in docstring
    assert len(docstring.splitlines()) >= 5


def test_a_configuration_says_what_is_told_and_the_default(tmp_path: Path) -> None:
    config = alembic_config("d.db", backup="off", schema="one", must_exist=True)
    told = {"url": "d.db", "backup": "off", "schema": "one", "must_exist": True}
    assert config.attributes == told
    assert alembic_config().attributes == dict.fromkeys(told)
    assert config.get_main_option("sqlalchemy.url") == DEFAULT_URL
    folder = tmp_path / "with, spaces"
    folder.mkdir()
    extra_revision.add(folder, "pass")
    both = ScriptDirectory.from_config(extra_revision.config(folder, None))
    assert both.get_heads() == [NEXT]


def test_the_revisions_are_in_the_package_or_in_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "shortsdb"
    package.mkdir(parents=True)
    monkeypatch.setattr(revisions, "_PACKAGE", package)
    for folder in (tmp_path / "alembic", package / "alembic"):
        (folder / "versions").mkdir(parents=True)
        (folder / "versions" / "0007_one.py").touch()
        assert alembic_config().get_main_option("script_location") == str(folder)
        assert revision_ids() == ["0007"]


def test_a_folder_may_have_a_percent_sign_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "100%(here)s"
    shutil.copytree(ROOT / "alembic", folder)
    monkeypatch.setattr(revisions, "_location", lambda: folder)
    script = ScriptDirectory.from_config(alembic_config())
    assert script.dir == str(folder)
    assert script.get_heads() == [HEAD]


def test_alembic_is_never_shadowed() -> None:
    assert not list((ROOT / "alembic").glob("**/__init__.py"))


def run_script(path: Path, script: str) -> None:
    """Run a script with the sqlite3 program, or with Python's sqlite3 module."""
    program = shutil.which("sqlite3")
    if program:
        subprocess.run([program, "-bail", path], input=script, text=True, check=True)
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)


def folded(ddl: dict[str, str]) -> dict[str, str]:
    """Return the DDL with white space folded, because --sql writes spaces for tabs.

    Without the history, which a printed script does not write.
    """
    return {
        name: re.sub(r"\s+", " ", sql) for name, sql in ddl.items() if HISTORY_TABLE not in name
    }


def test_printed_scripts_build_the_same_schema_on_sqlite(alembic: Program, tmp_path: Path) -> None:
    online, offline = tmp_path / "online.db", tmp_path / "offline.db"
    newest = HEAD
    up = alembic("upgrade", newest, "--sql", SHORTSDB_URL="sqlite:///anything.db")
    while up.returncode:
        # A table that is rebuilt is read for that: such a revision cannot be printed.
        assert "batch mode with dialect sqlite requires a live database" in up.stdout
        newest = f"{int(newest) - 1:04}"
        up = alembic("upgrade", newest, "--sql", SHORTSDB_URL="sqlite:///anything.db")
    command.upgrade(alembic_config(str(online)), newest)
    run_script(offline, up.stdout)
    assert folded(schema(offline)) == folded(schema(online))
    assert version(offline) == [newest]
    assert not (tmp_path / "anything.db").exists()

    command.downgrade(alembic_config(str(online)), "0001")
    down = alembic("downgrade", f"{newest}:0001", "--sql", SHORTSDB_URL="sqlite:///anything.db")
    assert down.returncode == 0
    run_script(offline, down.stdout)
    assert folded(schema(offline)) == folded(schema(online))
    assert version(offline) == ["0001"]


def test_a_printed_script_never_drops_the_deployed_tables(alembic: Program) -> None:
    down = alembic("downgrade", "0001:base", "--sql", SHORTSDB_URL="sqlite:///anything.db")
    assert down.returncode != 0
    assert "DROP TABLE clips" not in down.stdout
    assert "a printed script cannot look" in down.stdout
    assert "COMMIT" not in down.stdout
    assert "Traceback" not in down.stderr
