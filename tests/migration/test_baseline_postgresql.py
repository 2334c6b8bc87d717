"""Unversioned PostgreSQL databases: what fits is adopted as it is, what does not is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic import command
from project import HEAD
from sqlalchemy import create_engine

from shortsdb.health import Health, check_db_health
from shortsdb.migration import BASELINES, MigrationRefused, read_status
from shortsdb.migration.postgresql_schema import read_schema, schema_of_baseline
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import Base
from shortsdb.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgresql_server import Database, Server

RUN = (
    "INSERT INTO pipeline_runs (niche, cycle_start, cycle_end, status, retry_count)"
    " VALUES ('n', now(), now(), 'pending', 0)"
)


@pytest.fixture
def unversioned(postgres: Server, head_database: Database, shape: str) -> Iterator[Database]:
    """Return a database that is at a revision and does not say so, with a row in it."""
    database = postgres.create_database(head_database)
    command.downgrade(alembic_config(database.url), shape)
    database.psql(f"DROP TABLE alembic_version; {RUN}")
    yield database
    postgres.drop_database(database)


def health_of(database: Database) -> Health:
    engine = create_engine(database.url)
    try:
        return check_db_health(engine)
    finally:
        engine.dispose()


@pytest.mark.parametrize("shape", BASELINES)
def test_what_a_baseline_looks_like_there(unversioned: Database, shape: str) -> None:
    expected = schema_of_baseline(BASELINES[shape])
    engine = create_engine(unversioned.url)
    with engine.connect() as connection:
        found = read_schema(connection, [*expected, "nowhere"])
    engine.dispose()
    assert found.keys() == expected.keys()
    for name, table in expected.items():
        assert found[name].columns.keys() == table.columns.keys()
        assert found[name].primary_key == table.primary_key
        assert found[name].numbers_rows == table.numbers_rows
        assert found[name].unique == table.unique
        assert found[name].foreign_keys == table.foreign_keys
        assert found[name].indexes.items() >= table.indexes.items()


@pytest.mark.parametrize("shape", BASELINES)
def test_a_schema_that_fits_is_adopted_with_its_rows(
    unversioned: Database, shape: str, head_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    unversioned.psql("CREATE TABLE of_other_software (id int); CREATE VIEW theirs AS SELECT 1")
    status = read_status(Target.parse(unversioned.url), None)
    assert (status.shape, status.misfit, status.known) == (shape, None, True)
    health = health_of(unversioned)
    assert (health.shape, health.known, list(health.pending)) == (shape, True, status.pending)
    with caplog.at_level("INFO", "shortsdb"):
        command.upgrade(alembic_config(unversioned.url), "head")
    assert f"its tables are those of revision {shape}" in caplog.text
    unversioned.psql("DROP TABLE of_other_software; DROP VIEW theirs")
    assert unversioned.schema() == head_database.schema()
    assert unversioned.psql("SELECT version_num FROM alembic_version") == f"{HEAD}\n"
    assert unversioned.psql("SELECT count(*) FROM pipeline_runs") == "1\n"


def test_tables_of_other_software_are_not_looked_at(target: Database) -> None:
    target.psql("CREATE TABLE of_other_software (id int)")
    status = read_status(Target.parse(target.url), None)
    assert (status.revision, status.shape, status.misfit) == (None, None, None)
    command.upgrade(alembic_config(target.url), "head")
    assert target.psql("SELECT version_num FROM alembic_version") == f"{HEAD}\n"


def test_what_create_all_made_is_adopted(postgres: Server) -> None:
    database = postgres.create_database()
    engine = create_engine(database.url)
    Base.metadata.create_all(engine)
    engine.dispose()
    command.upgrade(alembic_config(database.url), "head")
    assert database.psql("SELECT version_num FROM alembic_version") == f"{HEAD}\n"
    command.check(alembic_config(database.url))
    postgres.drop_database(database)


DIFFERENCES = {
    "ALTER TABLE clips ALTER rank_position TYPE integer": (
        "column clips.rank_position is INTEGER where BIGINT belongs"
    ),
    "ALTER TABLE pipeline_runs ALTER cycle_start TYPE timestamp": (
        "column pipeline_runs.cycle_start is TIMESTAMP WITHOUT TIME ZONE"
        " where TIMESTAMP WITH TIME ZONE belongs"
    ),
    "ALTER TABLE discovered_videos ALTER title TYPE varchar(99)": (
        r"column discovered_videos.title is VARCHAR\(99\) where VARCHAR belongs"
    ),
    "ALTER TABLE clips DROP content_id_risk": "column clips.content_id_risk is missing",
    "ALTER TABLE clips ALTER extraction_method SET NOT NULL": (
        "column clips.extraction_method is NOT NULL where NULL belongs"
    ),
    "ALTER TABLE clips ADD mood text NOT NULL": "column clips.mood must have a value",
    "ALTER TABLE clips ALTER id DROP DEFAULT": (
        "column clips.id has no default, so the server does not number new rows"
    ),
    "ALTER TABLE clips DROP CONSTRAINT pk_clips": r"table clips has no PRIMARY KEY \(id\)",
    "ALTER TABLE discovered_videos DROP CONSTRAINT uq_discovered_videos_video_id": (
        r"table discovered_videos has no UNIQUE \(video_id\)"
    ),
    "ALTER TABLE clips DROP CONSTRAINT fk_clips_pipeline_run_id_pipeline_runs": (
        r"table clips has no FOREIGN KEY \(pipeline_run_id\) REFERENCES pipeline_runs \(id\)"
    ),
    "ALTER TABLE clips DROP CONSTRAINT fk_clips_pipeline_run_id_pipeline_runs, ADD FOREIGN KEY"
    " (pipeline_run_id) REFERENCES pipeline_runs ON DELETE CASCADE": (
        r"table clips has no FOREIGN KEY \(pipeline_run_id\) REFERENCES pipeline_runs \(id\)"
    ),
    "ALTER TABLE clips DROP CONSTRAINT fk_clips_pipeline_run_id_pipeline_runs, ADD FOREIGN KEY"
    " (pipeline_run_id) REFERENCES pipeline_runs ON UPDATE CASCADE": (
        r"table clips has no FOREIGN KEY \(pipeline_run_id\) REFERENCES pipeline_runs \(id\)"
    ),
    "ALTER TABLE discovered_videos DROP CONSTRAINT uq_discovered_videos_video_id;"
    " CREATE UNIQUE INDEX u ON discovered_videos (video_id) WHERE id > 5;"
    " CREATE UNIQUE INDEX v ON discovered_videos (lower(video_id))": (
        r"table discovered_videos has no UNIQUE \(video_id\)"
    ),
    "DROP TABLE clips": "table clips is missing",
    "ALTER TABLE clips RENAME TO cuts; CREATE VIEW clips AS SELECT 1": (
        "the name clips is that of a view"
    ),
    "ALTER TABLE clips RENAME TO cuts; CREATE MATERIALIZED VIEW clips AS SELECT 1": (
        "the name clips is that of a view"
    ),
    "ALTER TABLE pipeline_runs ALTER niche DROP NOT NULL; UPDATE pipeline_runs SET niche = NULL": (
        "column pipeline_runs.niche may be NULL where NOT NULL belongs, and is in 1 rows"
    ),
}


@pytest.mark.parametrize("shape", ["0001"])
@pytest.mark.parametrize("change", DIFFERENCES)
def test_each_difference_is_named(unversioned: Database, shape: str, change: str) -> None:
    unversioned.psql(change)
    before = unversioned.dump()
    phrase = rf"has no version and does not fit .*\(revision {shape}\): .*{DIFFERENCES[change]}"
    with pytest.raises(MigrationRefused, match=phrase):
        command.upgrade(alembic_config(unversioned.url), "head")
    assert unversioned.dump() == before
    assert DIFFERENCES[change].replace("\\", "") in str(
        read_status(Target.parse(unversioned.url), None).misfit
    )
    assert not health_of(unversioned).known


@pytest.mark.parametrize("shape", ["0001"])
def test_one_with_two_versions_is_not_taken_for_one_without(
    unversioned: Database, shape: str
) -> None:
    unversioned.psql(
        "CREATE TABLE alembic_version (version_num text);"
        f"INSERT INTO alembic_version VALUES ('{shape}'), ('other')"
    )
    status = read_status(Target.parse(unversioned.url), None)
    assert (status.revision, status.shape, status.known) == (f"{shape}, other", None, False)
    assert status.pending == []


@pytest.mark.parametrize("shape", ["0001"])
def test_what_may_differ_is_said(
    unversioned: Database, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    unversioned.psql(
        "ALTER TABLE pipeline_runs ALTER niche DROP NOT NULL, ALTER niche TYPE text;"
        "DROP INDEX idx_pipeline_runs_status; ALTER TABLE clips ADD mood text,"
        " ADD twice float GENERATED ALWAYS AS (end_time_seconds * 2) STORED NOT NULL,"
        " ADD more int NOT NULL DEFAULT 1, ALTER id DROP DEFAULT,"
        " ALTER id ADD GENERATED ALWAYS AS IDENTITY;"
        "CREATE INDEX idx_pipeline_runs_status ON pipeline_runs (status) WHERE id > 5;"
        "CREATE INDEX by_expression ON clips (lower(content_id_risk))"
    )
    command.upgrade(alembic_config(unversioned.url), "head")
    assert shape == "0001"
    assert "pipeline_runs.niche may be NULL where NOT NULL belongs; no row has" in caplog.text
    assert "lacks the index idx_pipeline_runs_status" in caplog.text
