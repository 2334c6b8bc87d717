"""The PostgreSQL side of a copy without the other: rows, faults, sequences and the new schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from shortsdb.migration import MigrationRefused, create_migration_engine
from shortsdb.models import metadata
from shortsdb.target import Target
from shortsdb.transfer.postgresql import (
    Postgres,
    _wait_for_disk,
    connected,
    target_transaction,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgresql_server import Database, Server

LOGS, RUNS = metadata.tables["error_logs"], metadata.tables["pipeline_runs"]
ADD = "INSERT INTO error_logs (id, module, error_type, error_message, occurred_at) VALUES "


@pytest.fixture
def database(postgres: Server, head_database: Database) -> Iterator[Database]:
    """Return a database at head without a row."""
    database = postgres.create_database(head_database)
    yield database
    postgres.drop_database(database)


@pytest.mark.parametrize(("rows", "parts"), [(0, [0]), (1, [1]), (250, [100, 100, 50])])
def test_rows_are_read_in_parts(database: Database, rows: int, parts: list[int]) -> None:
    database.psql(
        "INSERT INTO error_logs (module, error_type, error_message)"
        f" SELECT 'm', 't', n::text FROM generate_series(1, {rows}) n"
    )
    with connected(Target.parse(database.url)) as side:
        assert [len(part) for part in side.read(LOGS)] == parts
        assert side.count(LOGS) == rows


def test_rows_that_sqlite_cannot_hold_are_not_read_into_memory_at_once(database: Database) -> None:
    moments = ["10000-01-01 00:00:00+00", "0001-12-31 23:59:59.999999+00 BC", "infinity"]
    moments += ["0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"]  # the first and last
    rows = [f"({key}, 'm', 't', 'x', '{moment}')" for key, moment in enumerate(moments)]
    database.psql(ADD + ", ".join(rows))
    seen: list[int] = []
    with connected(Target.parse(database.url)) as side:
        found = side.examine(LOGS, {}, seen.append)
        first = next(found)
        cursors = text("SELECT count(*) FROM pg_cursors WHERE name <> ''")
        assert side.connection.scalar(cursors) == 1
        keys = [first.key, *(row.key for row in found)]
    assert sorted(keys) == [0, 1, 2]
    assert first.faults == {"occurred_at": "a moment outside of the years 1 to 9999"}
    assert seen == [5]


def test_only_what_is_invalid_is_left_out(database: Database) -> None:
    """Rows beside it stay, whether they hold NULL or belong to a sound row."""
    database.psql(
        "INSERT INTO pipeline_runs"
        " (id, niche, status, retry_count, cycle_start, cycle_end, started_at) VALUES"
        " (1, 'n', 'failed', 0, now(), now(), 'infinity'),"
        " (2, 'n', 'pending', 0, now(), now(), NULL);"
        "INSERT INTO error_logs (id, pipeline_run_id, module, error_type, error_message) VALUES"
        " (11, 1, 'm', 't', 'x'), (12, 2, 'm', 't', 'x'), (13, NULL, 'm', 't', 'x')"
    )
    seen: list[int] = []
    with connected(Target.parse(database.url)) as side:
        for table, invalid, rows in ((RUNS, 1, 1), (LOGS, 11, 2)):
            assert [found.key for found in side.examine(table, {}, seen.append)] == [invalid]
            assert sum(map(len, side.read(table, {invalid}))) == rows


@pytest.mark.parametrize(
    ("last", "sequence"),
    [
        (None, "4|t"),  # as it was
        (-5, "1|f"),
        (0, "1|f"),
        (1, "2|f"),
        (7, "8|f"),
        (2**63 - 2, f"{2**63 - 1}|f"),
        (2**63 - 1, f"{2**63 - 1}|f"),
    ],
)
def test_the_next_id_is_the_one_after_the_last(
    database: Database, last: int | None, sequence: str
) -> None:
    database.psql("SELECT nextval('error_logs_id_seq') FROM generate_series(1, 4)")
    if last is not None:
        database.psql(f"{ADD} ({last}, 'm', 't', 'x', now()), (-9, 'm', 't', 'x', now())")
    with connected(Target.parse(database.url)) as side:
        side.finish()
    assert database.psql("SELECT last_value, is_called FROM error_logs_id_seq") == f"{sequence}\n"


def test_a_schema_is_made_whatever_must_exist_and_nothing_is_said_of_it(
    target: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SHORTSDB_MUST_EXIST", "1")
    caplog.set_level("INFO", "shortsdb.migration")
    with target_transaction(Target.parse(target.url, "one")) as side:
        assert side.count(LOGS) == 0
    assert not caplog.records
    schemas = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'error_logs'"
    assert target.psql(schemas) == "one\n"


def test_rows_are_found_before_the_schema_is_compared(target: Database) -> None:
    target.psql("CREATE TABLE clips (id int); INSERT INTO clips VALUES (1)")
    with (
        pytest.raises(MigrationRefused, match="is not empty: clips hold rows"),
        target_transaction(Target.parse(target.url)),
    ):
        pass


def test_each_table_is_locked_against_writers_and_other_copies(database: Database) -> None:
    held = text(
        "SELECT relname, mode FROM pg_locks JOIN pg_class ON pg_class.oid = relation"
        " WHERE pid = pg_backend_pid() AND mode LIKE 'Share%' AND relname = ANY(:names)"
    )
    with target_transaction(Target.parse(database.url)) as side:
        there = side.connection.execute(held, {"names": list(metadata.tables)}).all()
        assert {tuple(lock) for lock in there} == {
            (name, "ShareRowExclusiveLock") for name in metadata.tables
        }


def test_the_next_client_of_a_pooler_waits_for_the_disk_as_it_likes(target: Database) -> None:
    target.psql(f"ALTER DATABASE {target.name} SET synchronous_commit = off")
    engine = create_migration_engine(Target.parse(target.url), changes=True)
    setting = text("SHOW synchronous_commit")
    with engine.connect() as connection:
        with connection.begin():
            _wait_for_disk(connection)
            assert connection.scalar(setting) == "on"
        assert connection.scalar(setting) == "off"


def test_the_next_client_of_a_pooler_reads_with_its_own_policies(target: Database) -> None:
    engine = create_migration_engine(Target.parse(target.url), changes=True)
    setting = text("SHOW row_security")
    with engine.connect() as connection:
        with connection.begin():
            Postgres(connection, Target.parse(target.url)).refuse_unusable_target()
            assert connection.scalar(setting) == "off"
        assert connection.scalar(setting) == "on"
