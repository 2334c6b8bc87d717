"""A reader that outlasts the COMMIT does not block others for long, and the cause is reported."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alembic import command
from inspect_sqlite import file_hash, version
from project import HEAD
from sqlalchemy import create_engine

from shortsdb.migration import MigrationRefused, transaction
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from pathlib import Path


def read_for_long(path: Path) -> sqlite3.Connection:
    reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM clips").fetchone()
    return reader


def deployed_code(path: Path, stop: threading.Event, failures: list[Exception]) -> None:
    """Read and write like deployed code, which gives up after 5 s."""
    while not stop.is_set():
        try:
            with closing(sqlite3.connect(path, timeout=5)) as connection:
                connection.execute("SELECT count(*) FROM pipeline_runs").fetchone()
        except sqlite3.Error as error:
            failures.append(error)


def read_again_and_again(path: Path, stop: threading.Event) -> None:
    """Read like a report: for longer than a COMMIT waits, with short pauses."""
    while not stop.is_set():
        with closing(read_for_long(path)):
            stop.wait(3)
        stop.wait(2)


def write_as_deployed(path: Path, stop: threading.Event, report: list[float | Exception]) -> None:
    """Write like deployed code, and record the duration of each write or its error."""
    while not stop.wait(0.3):
        begun = time.monotonic()
        try:
            with closing(sqlite3.connect(path, timeout=5)) as connection, connection:
                connection.execute("UPDATE pipeline_runs SET retry_count = retry_count + 1")
        except sqlite3.Error as error:
            report.append(error)
        else:
            report.append(time.monotonic() - begun)


def upgrade_beside_reader(path: Path) -> list[Exception]:
    """Return the errors of deployed code while an upgrade was refused because of a long reader."""
    failures: list[Exception] = []
    stop = threading.Event()
    with closing(read_for_long(path)):
        thread = threading.Thread(target=deployed_code, args=(path, stop, failures))
        thread.start()
        try:
            with pytest.raises(MigrationRefused, match="is read by another process for longer"):
                command.upgrade(alembic_config(str(path)), "head")
        finally:
            stop.set()
            thread.join()
    return failures


def test_a_long_reader_is_reported_and_does_not_block_others(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "8")
    before = file_hash(deployed_file)
    assert upgrade_beside_reader(deployed_file) == []
    assert file_hash(deployed_file) == before
    assert not list(deployed_file.parent.glob("backups/*"))


def test_control_a_long_commit_starves_deployed_code(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A COMMIT that waits as long as other statements blocks readers all that time."""
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "8")
    monkeypatch.setattr(transaction, "_COMMIT_SECONDS", 60.0)
    assert upgrade_beside_reader(deployed_file)


def test_an_upgrade_succeeds_after_the_reader_has_ended(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = read_for_long(deployed_file)
    wait = transaction.wait_for_readers

    def end_and_wait(*arguments: object) -> bool:
        reader.close()
        return wait(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("shortsdb.migration.sqlite.wait_for_readers", end_and_wait)
    command.upgrade(alembic_config(str(deployed_file)), "head")
    assert version(deployed_file) == [HEAD]


def test_deployed_code_writes_beside_readers_and_the_upgrade(
    deployed_file: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Readers outlast each COMMIT, but every write and read succeeds."""
    stop = threading.Event()
    writes: list[float | Exception] = []
    failures: list[Exception] = []
    threads = [
        threading.Thread(target=read_again_and_again, args=(deployed_file, stop)),
        threading.Thread(target=write_as_deployed, args=(deployed_file, stop, writes)),
        threading.Thread(target=deployed_code, args=(deployed_file, stop, failures)),
    ]
    for thread in threads:
        thread.start()
    try:
        with caplog.at_level(logging.INFO):
            command.upgrade(alembic_config(str(deployed_file), backup="off"), "head")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    waits = [took for took in writes if isinstance(took, float)]
    assert len(waits) == len(writes), writes
    assert version(deployed_file) == [HEAD]
    with closing(sqlite3.connect(deployed_file)) as connection:
        counts = connection.execute("SELECT DISTINCT retry_count FROM pipeline_runs").fetchall()
    assert max(counts)[0] >= len(waits) > 0
    with capsys.disabled():
        tries = caplog.text.count("trying again") + 1
        print(f"\nlongest of {len(waits)} writes: {max(waits):.1f} s; tries: {tries}")  # noqa: T201 - for people


def test_a_connection_is_returned_with_its_settings(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0.1")
    settings = {
        "foreign_keys": 1,
        "busy_timeout": 1234,
        "synchronous": 1,
        "query_only": 1,
        "cache_spill": 77,
    }
    engine = create_engine(f"sqlite:///{deployed_file}")
    with engine.connect() as connection, closing(read_for_long(deployed_file)):
        cursor = connection.connection.cursor()
        for name, value in settings.items():
            cursor.execute(f"PRAGMA {name} = {value}")
        config = alembic_config()
        config.attributes["connection"] = connection
        with pytest.raises(MigrationRefused, match="is read by another process"):
            command.upgrade(config, "head")
        assert not connection.in_transaction()
        driver = connection.connection.driver_connection
        assert driver is not None
        assert not driver.in_transaction
        for name, value in settings.items():
            cursor.execute(f"PRAGMA {name}")
            found = cursor.fetchall()[0][0]
            assert found >= value if name == "cache_spill" else found == value, name
        assert driver.isolation_level == ""
    engine.dispose()
