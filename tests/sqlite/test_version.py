"""A file at head is recognised at once, and no other file is taken for one."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from inspect_sqlite import execute, file_hash
from other_user import STRANGER, needs_root, run_as
from project import HEAD, PROGRAMS, ROOT

from shortsdb.database import init_db
from shortsdb.errors import OperationRefused
from shortsdb.printable import VALUE_LENGTH
from shortsdb.sqlite.connection import values
from shortsdb.sqlite.version import is_at_head, read_version, reading, version_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["delete", "wal"])
def head_file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "head %41.db"
    init_db(path).dispose()
    with closing(sqlite3.connect(path)) as connection:
        mode = connection.execute(f"PRAGMA journal_mode = {request.param}").fetchone()
    assert mode == (request.param,)
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208 - names are compared
    return path


def test_nothing_to_do_is_seen_without_sqlalchemy_and_alembic(head_file: Path) -> None:
    before = file_hash(head_file), head_file.stat().st_mtime_ns
    script = (
        "import sys; from shortsdb.cli import main;"
        f"main(['upgrade', '--url', {head_file.name!r}], standalone_mode=False);"
        "print({'sqlalchemy', 'alembic'} & set(sys.modules))"
    )
    quick = subprocess.run(
        [sys.executable, "-c", script],
        cwd=head_file.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert quick.stdout == "set()\n"
    assert (file_hash(head_file), head_file.stat().st_mtime_ns) == before
    assert os.listdir(head_file.parent) == [head_file.name]  # noqa: PTH208 - as above
    assert quick.stderr == f"INFO    {head_file} is at {HEAD} already: nothing to do\n"


def test_the_shortcut_logs_the_same_record_as_the_normal_path(head_file: Path) -> None:
    def upgrade(*program: str | Path) -> dict[str, str]:
        done = subprocess.run(
            program,
            env={**os.environ, "SHORTSDB_LOG": "json", "SHORTSDB_CORRELATION_ID": "restart"},
            capture_output=True,
            text=True,
            check=True,
        )
        record: dict[str, str] = json.loads(done.stderr)
        assert record.pop("time")
        return record

    assert is_at_head(head_file, HEAD)
    quick = upgrade(PROGRAMS / "shortsdb", "upgrade", "--url", head_file)
    ini = ROOT / "alembic.ini"
    url = f"url={head_file}"
    assert upgrade(PROGRAMS / "alembic", "-c", ini, "-x", url, "upgrade", "head") == quick


@pytest.mark.parametrize("lock", ["DEFERRED", "IMMEDIATE"])
def test_a_file_in_use_is_read_as_it_was_committed(head_file: Path, lock: str) -> None:
    with closing(sqlite3.connect(head_file, isolation_level=None)) as connection:
        connection.execute(f"BEGIN {lock}")
        connection.execute("UPDATE alembic_version SET version_num = '0007'")
        assert is_at_head(head_file, HEAD)
        connection.execute("COMMIT")
        assert not is_at_head(head_file, HEAD)


@pytest.mark.parametrize("immutable", [True, False])
def test_a_file_is_read_in_one_transaction_that_cannot_write(
    head_file: Path, *, immutable: bool
) -> None:
    with reading(head_file, immutable=immutable, foreign_keys=True) as connection:
        assert connection.in_transaction
        assert values(connection, "PRAGMA foreign_keys") == [1]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM clips")
    with reading(head_file, immutable=immutable) as connection:
        assert values(connection, "PRAGMA foreign_keys") == [0]


def test_a_file_that_nobody_writes_to_is_read_without_side_files(head_file: Path) -> None:
    execute(head_file, "PRAGMA journal_mode = WAL")
    before = sorted(head_file.parent.iterdir())
    with reading(head_file, immutable=True) as connection:
        assert values(connection, "SELECT count(*) FROM clips") == [0]
        assert sorted(head_file.parent.iterdir()) == before


@pytest.mark.timeout(60)
def test_a_file_locked_against_readers_is_left_to_the_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "3600")  # it does not wait
    path = tmp_path / "x.db"
    init_db(path).dispose()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        assert not is_at_head(path, HEAD)


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE alembic_version SET version_num = '0007'",
        "UPDATE alembic_version SET version_num = '0999'",
        "UPDATE alembic_version SET version_num = 8",
        "DELETE FROM alembic_version",
        "INSERT INTO alembic_version VALUES ('0007')",
        "DROP TABLE alembic_version",
        "CREATE TABLE _alembic_tmp_clips (x)",
    ],
)
def test_another_version_is_not_head(head_file: Path, script: str) -> None:
    assert is_at_head(head_file, HEAD)
    execute(head_file, script)
    assert not is_at_head(head_file, HEAD)


@pytest.mark.parametrize(
    "renamed",
    [
        (
            "ALTER TABLE alembic_version RENAME TO temporary;"
            'ALTER TABLE temporary RENAME TO "Alembic_VERSION"'
        ),
        (
            "ALTER TABLE alembic_version RENAME TO version;"
            "CREATE VIEW alembic_version AS SELECT version_num FROM version"
        ),
    ],
    ids=["in capitals", "a view"],
)
def test_a_version_may_have_a_table_that_alembic_has_not_made(
    head_file: Path, renamed: str
) -> None:
    execute(head_file, renamed)
    with reading(head_file) as connection:
        version = read_version(connection, ["0007", HEAD], {}, "it")
    assert (version.revision, version.known, version.pending) == (HEAD, True, ())


@pytest.mark.parametrize(
    ("heads", "shown"),
    [
        ([""], "''"),
        (["", "0007"], "'', 0007"),
        (["\x1b[2J"], "\\x1b[2J"),
        ([8], "8"),
    ],
)
def test_a_version_of_other_software_is_shown_and_not_known(
    heads: list[object], shown: str
) -> None:
    version = version_of(heads, ["0007", HEAD])
    assert (version.revision, version.known, version.pending) == (shown, False, ())


def test_a_long_version_is_shortened() -> None:
    version = version_of(["x" * 1000], [HEAD])
    assert len(str(version.revision)) <= VALUE_LENGTH


def test_a_name_that_is_not_utf_8_is_refused(head_file: Path) -> None:
    execute(
        head_file,
        "PRAGMA writable_schema = ON; CREATE TABLE other (x);"
        "UPDATE sqlite_master SET name = x'6f7468ff', tbl_name = x'6f7468ff' WHERE name = 'other'",
    )
    with (
        pytest.raises(OperationRefused, match=f"{head_file.name} holds an object whose name is"),
        reading(head_file) as connection,
    ):
        read_version(connection, [HEAD], {}, "it")


def test_a_file_that_an_upgrade_creates_or_refuses_is_not_at_head(
    head_file: Path, tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database " * 1000)
    empty = tmp_path / "empty.db"
    empty.touch()
    for file in (garbage, empty, tmp_path / "absent.db", tmp_path):
        assert not is_at_head(file, HEAD)
    assert not (tmp_path / "absent.db").exists()
    assert is_at_head(head_file, HEAD)


@needs_root
def test_a_file_that_the_user_cannot_write_is_not_at_head(reachable: Path) -> None:
    path = reachable / "x.db"
    init_db(path).dispose()
    assert not run_as(STRANGER, lambda: is_at_head(path, HEAD))
