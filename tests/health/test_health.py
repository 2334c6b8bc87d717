"""Health of good, missing, old, foreign and damaged databases; a check changes nothing."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

import legacy_database
import pytest
import sqlalchemy
from inspect_sqlite import execute
from other_user import STRANGER, needs_root, run_as
from project import HEAD
from sqlalchemy import text

import shortsdb.engine
from shortsdb.database import (
    check_db_health,
    check_db_health_async,
    get_session,
    init_db,
    init_db_async,
    seed_db,
)
from shortsdb.health import check_file_health
from shortsdb.migration import read_file
from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.revisions import revision_ids
from shortsdb.sqlite.backup import make_backup
from shortsdb.sqlite.file_checks import CHANGE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Server

ALL = tuple(revision_ids())
AFTER_0006 = ALL[6:]


def test_one_call_returns_the_whole_report(tmp_path: Path) -> None:
    path = tmp_path / "good.db"
    engine = init_db(path)
    backup = make_backup(path, HEAD, tmp_path / "backups")
    health = check_db_health(engine)
    engine.dispose()
    assert health.ok
    assert health.latency_seconds is not None
    assert 0 < health.latency_seconds < 60
    assert health.free_bytes is not None
    assert health.free_bytes <= shutil.disk_usage(tmp_path).total
    assert health == shortsdb.health.Health(
        reachable=True,
        revision=HEAD,
        shape=None,
        head=HEAD,
        known=True,
        pending=(),
        writable=True,
        foreign_keys=True,
        journal_mode="wal",
        free_bytes=health.free_bytes,
        size_bytes=path.stat().st_size,
        last_backup=str(backup),
        last_backup_age_seconds=health.last_backup_age_seconds,
        latency_seconds=health.latency_seconds,
        problems=(),
        error=None,
    )


def test_async_engines_return_the_same_report(tmp_path: Path) -> None:
    async def main() -> None:
        engine = await init_db_async(tmp_path / "x.db")
        health = await check_db_health_async(engine, thorough=False)
        await engine.dispose()
        assert health.ok
        assert (health.revision, health.journal_mode, health.foreign_keys) == (HEAD, "wal", True)

    asyncio.run(main())


def test_postgresql(postgres: Server) -> None:
    database = postgres.create_database()
    engine = shortsdb.engine.create_engine(database.url)
    health = check_db_health(engine)
    assert (health.reachable, health.revision, health.pending) == (True, None, ALL)
    init_db(database.url).dispose()
    health = check_db_health(engine)
    assert health.ok
    assert (health.revision, health.head, health.foreign_keys) == (HEAD, HEAD, True)
    assert health.journal_mode is None
    assert (health.free_bytes, health.last_backup) == (None, None)
    assert health.size_bytes is not None
    assert health.size_bytes > 1_000_000
    assert health.latency_seconds is not None
    assert 0 < health.latency_seconds < 60
    database.psql("UPDATE alembic_version SET version_num = '0999'")
    health = check_db_health(engine)
    assert (health.revision, health.known, health.shape) == ("0999", False, None)
    database.psql("DROP TABLE alembic_version")
    health = check_db_health(engine)
    assert (health.revision, health.known, health.shape) == (None, True, HEAD)
    engine.dispose()


@needs_root
@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("live", [True, False], ids=["in use", "not in use"])
def test_a_user_who_may_only_read_gets_a_status(reachable: Path, mode: str, *, live: bool) -> None:
    file = legacy_database.make(reachable / "d.db")
    file.chmod(0o644)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("UPDATE clips SET id = id")
        connection.commit()
        if not live:
            connection.close()
        before = sorted(reachable.iterdir())

        def look() -> list[object]:
            version, journal_mode = read_file(file)
            monitor = check_file_health(file, read_only=True)
            return [version.shape, journal_mode, monitor.writable, monitor.problems]

        check_file_health(file)  # loads what another user may not be able to read
        pending = f"revisions are pending: {', '.join(ALL[1:])}"
        assert run_as(STRANGER, look) == ["0001", mode, None, (pending,)]
        assert run_as(STRANGER, lambda: check_file_health(file)).writable is False
        assert sorted(reachable.iterdir()) == before


def test_unreachable_databases(tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database " * 1000)
    for url, problem, error in (
        (missing, "the file does not exist", None),
        (garbage, "it cannot be reached or read", "file is not a database"),
        (f"postgresql+psycopg://u:secret@/d?host={tmp_path}", "it cannot be reached or read", ""),
    ):
        engine = shortsdb.engine.create_engine(url)
        health = check_db_health(engine)
        engine.dispose()
        assert (health.reachable, health.head, health.problems) == (False, HEAD, (problem,))
        assert error == health.error or (error == "" and health.error)
        assert "secret" not in str(health)
    assert not missing.exists()


def test_older_and_newer_databases(tmp_path: Path) -> None:
    for version, pending, problem in (
        ("0006", AFTER_0006, f"revisions are pending: {', '.join(AFTER_0006)}"),
        ("0999", (), "it is at revision 0999, which this release does not know"),
    ):
        path = tmp_path / f"{version}.db"
        init_db(path).dispose()
        execute(path, f"UPDATE alembic_version SET version_num = '{version}'")
        engine = shortsdb.engine.create_engine(path)
        health = check_db_health(engine, thorough=False)
        engine.dispose()
        assert (health.revision, health.pending, health.problems) == (version, pending, (problem,))
        assert health.known == bool(pending)


def test_databases_without_a_version(deployed_file: Path, tmp_path: Path) -> None:
    unversioned = tmp_path / "create_all.db"
    execute(unversioned, BASELINES["0008"])
    other = tmp_path / "other.db"
    execute(other, "CREATE TABLE users (id INTEGER PRIMARY KEY)")
    empty = tmp_path / "empty.db"
    empty.touch()
    for path, shape, known, pending in (
        (deployed_file, "0001", True, ALL[1:]),
        (unversioned, "0008", True, ALL[8:]),
        (other, None, False, ()),
        (empty, None, True, ALL),
    ):
        engine = shortsdb.engine.create_engine(path)
        health = check_db_health(engine, thorough=False)
        engine.dispose()
        assert (health.reachable, health.revision, health.shape) == (True, None, shape)
        assert (health.known, health.pending) == (known, pending)
        assert health.ok == (known and not pending)
        assert tmp_path.name not in str(health.problems)


def test_another_engine_may_not_enforce_foreign_keys(tmp_path: Path) -> None:
    init_db(tmp_path / "x.db").dispose()
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    health = check_db_health(engine)
    engine.dispose()
    assert health.foreign_keys is False
    assert health.problems == ("connections of this engine do not enforce foreign keys",)


def test_only_a_thorough_check_reads_the_whole_file(tmp_path: Path) -> None:
    engine = init_db(tmp_path / "x.db")
    with closing(sqlite3.connect(tmp_path / "x.db")) as raw, raw:
        raw.execute("INSERT INTO shorts (pipeline_run_id) VALUES (77)")
    problems = ("1 rows of shorts point to rows of pipeline_runs that are not there",)
    assert check_db_health(engine, thorough=False).ok
    assert check_db_health(engine).problems == problems
    engine.dispose()

    async def main() -> None:
        engine = await init_db_async(tmp_path / "x.db")
        assert (await check_db_health_async(engine, thorough=False)).ok
        assert (await check_db_health_async(engine)).problems == problems
        await engine.dispose()

    asyncio.run(main())


def test_a_damaged_index_is_found(tmp_path: Path) -> None:
    engine = init_db(tmp_path / "x.db")
    with get_session(engine) as session:
        seed_db(session)
        session.execute(text("PRAGMA writable_schema = ON"))
        session.execute(
            text("UPDATE sqlite_master SET rootpage = 3 WHERE name = 'idx_analytics_video'")
        )
        session.commit()
    engine.dispose()
    health = check_db_health(engine)
    assert not health.ok
    engine.dispose()


def test_a_full_disk_and_a_lost_folder_of_backups_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "good.db"
    init_db(path).dispose()
    missing = check_file_health(path, backup=str(tmp_path / "unmounted"))
    assert missing.problems == ("the folder for backups does not exist",)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    assert check_file_health(path).problems == ("its file system is full",)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=CHANGE_BYTES))
    assert check_file_health(path).ok


@needs_root
def test_what_a_killed_program_left_is_not_read_as_the_database(reachable: Path) -> None:
    path = reachable / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t VALUES (zeroblob(3000))", [()] * 50)
        left = {file.name: file.read_bytes() for file in reachable.iterdir()}
    for name, content in left.items():
        (reachable / name).write_bytes(content)
        (reachable / name).chmod(0o644)
    assert (reachable / "a.db-journal").exists()

    found = run_as(STRANGER, lambda: check_file_health(path, read_only=True))
    assert found.problems == ("it cannot be reached or read",)
    assert found.error is not None
    assert "run shortsdb status as its owner" in found.error
    assert read_file(path)[0].revision is None  # the owner undoes what was begun
    assert not (reachable / "a.db-journal").exists()
