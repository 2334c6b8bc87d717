"""Unversioned files: a file that fits is adopted unchanged, others are refused unchanged."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import legacy_database
import pytest
from alembic import command
from inspect_sqlite import BOOKKEEPING, file_hash, row_hashes, schema, version
from project import HEAD
from sqlalchemy import (
    TIMESTAMP,
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
)

from shortsdb.errors import OperationRefused
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import Base
from shortsdb.sqlite.baseline import recognise
from shortsdb.sqlite.schema import schema_of_script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project import Program

Change = "Callable[[str], str]"


def replaced(old: str, new: str, count: int = -1) -> Callable[[str], str]:
    """Return a change of the deployed schema that replaces `old`, which must be there."""

    def change(ddl: str) -> str:
        assert old in ddl
        return ddl.replace(old, new, count)

    return change


def added(statement: str) -> Callable[[str], str]:
    return lambda ddl: f"{ddl}\n{statement};"


def chained(*changes: Callable[[str], str]) -> Callable[[str], str]:
    def change(ddl: str) -> str:
        for one in changes:
            ddl = one(ddl)
        return ddl

    return change


def without(pattern: str) -> Callable[[str], str]:
    def change(ddl: str) -> str:
        changed, count = re.subn(pattern, "", ddl, flags=re.DOTALL)
        assert count
        return changed

    return change


GENUINE = {
    "as deployed": lambda ddl: ddl,
    "TEXT for VARCHAR": replaced("VARCHAR", "TEXT"),
    "VARCHAR with a length": replaced("VARCHAR", "VARCHAR(255)"),
    "TIMESTAMP for DATETIME": replaced("DATETIME", "TIMESTAMP"),
    "REAL for FLOAT": replaced("FLOAT", "REAL"),
    "BIGINT for INTEGER": chained(
        replaced("INTEGER", "BIGINT"), replaced("\tid BIGINT", "\tid INTEGER")
    ),
    "AUTOINCREMENT": chained(
        replaced("\tid INTEGER NOT NULL", "\tid INTEGER PRIMARY KEY AUTOINCREMENT"),
        without(r"PRIMARY KEY \(id\),? ?\n?"),
        replaced("retry_count INTEGER NOT NULL, \n\t)", "retry_count INTEGER NOT NULL\n)"),
    ),
    "an inline primary key": chained(
        replaced("\tid INTEGER NOT NULL, \n", "\tid INTEGER PRIMARY KEY, \n"),
        without(r"PRIMARY KEY \(id\),? ?\n?"),
        replaced("retry_count INTEGER NOT NULL, \n\t)", "retry_count INTEGER NOT NULL\n)"),
    ),
    "server defaults": chained(
        replaced("processed INTEGER NOT NULL", "processed INTEGER DEFAULT 0 NOT NULL"),
        replaced("status VARCHAR NOT NULL", "status VARCHAR DEFAULT 'pending' NOT NULL"),
    ),
    "an inline unique constraint": chained(
        replaced(
            "video_id VARCHAR NOT NULL, \n\ttitle", "video_id VARCHAR NOT NULL UNIQUE, \n\ttitle"
        ),
        without(r", \n\tUNIQUE \(video_id\)"),
    ),
    "a unique index": chained(
        without(r", \n\tUNIQUE \(video_id\)"),
        added("CREATE UNIQUE INDEX my_unique ON discovered_videos (video_id)"),
    ),
    "named constraints": chained(
        replaced("UNIQUE (video_id)", "CONSTRAINT once UNIQUE (video_id)"),
        replaced("PRIMARY KEY (id)", "CONSTRAINT pk PRIMARY KEY (id)"),
        replaced("FOREIGN KEY(pipeline", "CONSTRAINT to_run FOREIGN KEY(pipeline"),
    ),
    "inline foreign keys": chained(
        replaced(
            "pipeline_run_id INTEGER NOT NULL",
            "pipeline_run_id INTEGER NOT NULL REFERENCES pipeline_runs",
        ),
        replaced(
            "discovered_video_id INTEGER NOT NULL",
            "discovered_video_id INTEGER NOT NULL REFERENCES discovered_videos (id)",
        ),
        without(r", \n\tFOREIGN KEY.*?\(id\)(?=, |\n)"),
    ),
    "further nullable columns": chained(
        replaced("\tcontent_id_risk", "\tmy_note TEXT, \n\tcontent_id_risk"),
        replaced("\tretry_count", "\tmy_flag INTEGER DEFAULT 1 NOT NULL, \n\tretry_count"),
    ),
    "further indexes": chained(
        added("CREATE INDEX mine ON clips (discovered_video_id)"),
        added("CREATE INDEX part ON clips (rank_position) WHERE rank_position < 3"),
    ),
    "an index missing": without(r"CREATE INDEX idx_clips_pipeline[^;]*;"),
    "views and triggers": chained(
        added("CREATE VIEW best AS SELECT * FROM discovered_videos WHERE viral_score > 9"),
        added("CREATE TRIGGER t AFTER UPDATE ON clips BEGIN SELECT 1; END"),
    ),
    "tables of other software": chained(
        added("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)"),
        added("CREATE TABLE notes (word)"),
        added("CREATE VIRTUAL TABLE search USING fts5(body)"),
    ),
    "a generated column": replaced(
        "\tcontent_id_risk VARCHAR NOT NULL, \n\tPRIMARY KEY (id), \n\tUNIQUE",
        "\tcontent_id_risk VARCHAR NOT NULL, \n"
        "\tshout TEXT NOT NULL AS (upper(title)), \n\tPRIMARY KEY (id), \n\tUNIQUE",
    ),
    "NULL for NOT NULL, and no row with one": replaced("VARCHAR NOT NULL", "VARCHAR"),
    "a default where none belongs": replaced("like_count INTEGER", "like_count INTEGER DEFAULT 0"),
    "uniqueness of an expression": added(
        "CREATE UNIQUE INDEX folded ON discovered_videos (lower(video_id), niche)"
    ),
    "other spacing and quotes": chained(
        replaced("\t", "  "), replaced("CREATE TABLE clips", 'create table "clips"')
    ),
}

MISFITS = {
    "a table missing": (
        without(
            r"CREATE TABLE clips.*\);\n(?=CREATE INDEX idx_clips)|CREATE INDEX idx_clips[^;]*;"
        ),
        ["table clips is missing"],
    ),
    "two tables missing": (
        lambda ddl: ddl[ddl.index("CREATE TABLE pipeline_runs") : ddl.index("CREATE TABLE clips")],
        ["table discovered_videos is missing", "table clips is missing"],
    ),
    "only tables of other software": (
        lambda _: "CREATE TABLE users (id INTEGER PRIMARY KEY)",
        ["table clips is missing", "tables of other software: users"],
    ),
    "columns missing": (
        chained(without(r"\tview_count INTEGER, \n"), without(r"\terror_message TEXT, \n")),
        ["discovered_videos.view_count is missing", "pipeline_runs.error_message is missing"],
    ),
    "columns of another affinity": (
        chained(
            replaced("view_count INTEGER", "view_count TEXT"),
            replaced("started_at DATETIME", "started_at TEXT"),
            replaced("start_time_seconds FLOAT", "start_time_seconds"),
        ),
        [
            "discovered_videos.view_count is TEXT where INTEGER belongs",
            "pipeline_runs.started_at is TEXT where DATETIME belongs",
            "clips.start_time_seconds is",
        ],
    ),
    "a required column that nobody fills": (
        replaced("\tretry_count", "\towner TEXT NOT NULL, \n\tretry_count"),
        ["pipeline_runs.owner must have a value"],
    ),
    "a required column with DEFAULT NULL": (
        replaced("\tretry_count", "\towner TEXT DEFAULT NULL NOT NULL, \n\tretry_count"),
        ["pipeline_runs.owner must have a value"],
    ),
    "NOT NULL for NULL": (
        replaced("like_count INTEGER", "like_count INTEGER NOT NULL"),
        ["discovered_videos.like_count is NOT NULL where NULL belongs"],
    ),
    "NULL for NOT NULL": (
        chained(
            replaced("niche VARCHAR NOT NULL", "niche VARCHAR"),
            added(
                "INSERT INTO pipeline_runs (cycle_start, cycle_end, status, retry_count)"
                " VALUES ('2026-01-01', '2026-01-02', 'pending', 0)"
            ),
        ),
        ["pipeline_runs.niche may be NULL where NOT NULL belongs, and is in 1 rows"],
    ),
    "no primary key": (
        replaced("PRIMARY KEY (id), \n\tUNIQUE", "UNIQUE"),
        ["table discovered_videos has no PRIMARY KEY (id)"],
    ),
    "a primary key that does not number rows": (
        replaced("id INTEGER NOT NULL", "id INT NOT NULL"),
        ["discovered_videos.id is not INTEGER PRIMARY KEY", "clips.id is not INTEGER PRIMARY KEY"],
    ),
    "no uniqueness": (
        without(r", \n\tUNIQUE \(video_id\)"),
        ["table discovered_videos has no UNIQUE (video_id)"],
    ),
    "uniqueness of some rows only": (
        chained(
            without(r", \n\tUNIQUE \(video_id\)"),
            added("CREATE UNIQUE INDEX u ON discovered_videos (video_id) WHERE processed = 1"),
        ),
        ["table discovered_videos has no UNIQUE (video_id)"],
    ),
    "no foreign key": (
        without(r", \n\tFOREIGN KEY\(discovered_video_id[^\n]*"),
        ["clips has no FOREIGN KEY (discovered_video_id) REFERENCES discovered_videos (id)"],
    ),
    "a foreign key that deletes": (
        replaced(
            "REFERENCES pipeline_runs (id)", "REFERENCES pipeline_runs (id) ON DELETE CASCADE"
        ),
        ["clips has no FOREIGN KEY (pipeline_run_id) REFERENCES pipeline_runs (id)"],
    ),
    "some of the new tables": (
        added("CREATE TABLE scripts (id INTEGER PRIMARY KEY, text TEXT)"),
        [
            "column scripts.full_script_json is missing",
            "table tts_audio is missing",
            "table shorts is missing",
            "table analytics is missing",
            "table review_logs is missing",
            "table config_overrides is missing",
            "table error_logs is missing",
        ],
    ),
    "a view in place of a table": (
        chained(
            replaced("CREATE TABLE clips", "CREATE TABLE real_clips"),
            replaced("ON clips", "ON real_clips"),
            added("CREATE VIEW clips AS SELECT * FROM real_clips"),
        ),
        ["table clips is missing", "the name clips is that of a view"],
    ),
    "a name that a revision needs": (
        added("CREATE VIEW analytics AS SELECT 1"),
        ["the name analytics is that of a view"],
    ),
}


def build(path: Path, ddl: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(ddl)


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.parametrize("change", GENUINE.values(), ids=GENUINE.keys())
def test_a_genuine_file_is_adopted_unchanged(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / "genuine.db"
    build(path, change(legacy_database.SCHEMA))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO pipeline_runs (niche, cycle_start, cycle_end, status, retry_count)"
            " VALUES ('n', '2026-01-01', '2026-01-02 00:00:00', 'pending', 0)"
        )
        connection.execute(
            "INSERT INTO discovered_videos (video_id, title, channel_name, channel_id, url, niche,"
            " discovered_at, processed, content_id_risk)"
            " VALUES ('v', 'ü', 'c', 'i', 'u', 'n', '2026-01-01 00:00:00', 0, 'low')"
        )
        connection.execute(
            "INSERT INTO clips (pipeline_run_id, discovered_video_id, rank_position,"
            " start_time_seconds, end_time_seconds, clip_duration_seconds, content_id_risk)"
            " VALUES (1, 1, 1, 0, 1e999, 1, 'low')"
        )
    schema_before, rows_before = schema(path), row_hashes(path)

    command.upgrade(alembic_config(str(path)), "head")

    assert version(path) == [HEAD]
    assert schema(path).items() >= schema_before.items()
    assert row_hashes(path).items() >= rows_before.items()
    command.check(alembic_config(str(path)))
    command.downgrade(alembic_config(str(path)), "0001")
    schema_after = schema(path)
    for table in BOOKKEEPING:
        del schema_after[table]
    assert schema_after == schema_before


@pytest.mark.parametrize(("change", "phrases"), MISFITS.values(), ids=MISFITS.keys())
def test_a_mismatching_file_is_refused_unchanged(
    alembic: Program, tmp_path: Path, change: Callable[[str], str], phrases: list[str]
) -> None:
    path = tmp_path / "misfit.db"
    build(path, change(legacy_database.SCHEMA))
    before = file_hash(path)

    done = alembic("-x", f"url=sqlite:///{path}", "upgrade", "head")

    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout
    (message,) = done.stdout.splitlines()
    assert message.startswith(f"FAILED: {path} has no version and does not fit")
    for phrase in phrases:
        assert phrase in message
    assert file_hash(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["misfit.db"]


@pytest.mark.parametrize(
    ("shapes", "phrase"),
    [
        ({}, "no known schema contains all of its tables"),
        ({"0001": ""}, "no known schema contains all of its tables (clips, discovered_videos"),
        (
            {
                "0001": "CREATE TABLE clips (id INTEGER PRIMARY KEY)",
                "0002": "CREATE TABLE pipeline_runs (id INTEGER PRIMARY KEY)",
            },
            "no known schema contains all of its tables",
        ),
        (
            {"0001": legacy_database.SCHEMA, "0002": legacy_database.SCHEMA},
            "its tables fit the revisions 0001, 0002 equally",
        ),
    ],
    ids=["no shape", "an empty one", "tables of two", "two alike"],
)
def test_a_file_is_adopted_only_if_one_schema_fits(
    deployed_file: Path, shapes: dict[str, str], phrase: str
) -> None:
    with (
        closing(sqlite3.connect(deployed_file)) as connection,
        pytest.raises(OperationRefused) as refusal,
    ):
        recognise(connection, shapes, "alembic_version", "d.db")
    assert phrase in str(refusal.value)


def test_the_strictest_fitting_schema_is_adopted(deployed_file: Path) -> None:
    more = legacy_database.SCHEMA.replace("\tlike_count INTEGER, \n", "")
    less = legacy_database.SCHEMA
    with closing(sqlite3.connect(deployed_file)) as connection:
        for shapes in ({"0001": less, "0002": more}, {"0002": more, "0001": less}):
            assert recognise(connection, shapes, "alembic_version", "d.db") == "0001"


def test_a_nullable_column_is_logged(alembic: Program, tmp_path: Path) -> None:
    nullable = legacy_database.SCHEMA.replace("niche VARCHAR NOT NULL", "niche VARCHAR")
    build(tmp_path / "d.db", nullable)
    done = alembic("-x", "url=d.db", "upgrade", "head")
    assert done.returncode == 0
    assert "the column pipeline_runs.niche may be NULL where NOT NULL belongs" in done.stderr


# The product's schema as written by hand: other types that SQLite treats alike,
# AUTOINCREMENT, defaults, quoted names, NOT NULL only here and there.
WRITTEN_BY_HAND = """
CREATE TABLE IF NOT EXISTS "discovered_videos" (
    id INTEGER PRIMARY KEY AUTOINCREMENT, video_id TEXT UNIQUE NOT NULL, title TEXT NOT NULL,
    channel_name TEXT, channel_id TEXT, url TEXT, category_id INTEGER, duration_seconds INTEGER,
    view_count INTEGER DEFAULT 0, like_count INTEGER DEFAULT 0, comment_count INTEGER DEFAULT 0,
    view_velocity REAL DEFAULT 0.0, viral_score REAL, niche TEXT NOT NULL,
    discovery_source TEXT DEFAULT 'trending',
    discovered_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, processed INTEGER DEFAULT 0,
    content_id_risk TEXT DEFAULT 'unknown'
);
CREATE TABLE IF NOT EXISTS [pipeline_runs] (
    id INTEGER PRIMARY KEY AUTOINCREMENT, niche TEXT NOT NULL, cycle_start DATETIME NOT NULL,
    cycle_end DATETIME, "status" TEXT DEFAULT 'pending', started_at DATETIME,
    completed_at DATETIME, video_file_path TEXT, video_duration_seconds REAL,
    video_file_size_bytes INTEGER, youtube_video_id TEXT, youtube_url TEXT, error_message TEXT,
    retry_count INTEGER DEFAULT 0
);
CREATE TABLE IF NOT EXISTS `clips` (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline_run_id INTEGER REFERENCES pipeline_runs(id),
    discovered_video_id INTEGER REFERENCES discovered_videos(id),
    rank_position INTEGER NOT NULL CHECK (rank_position > 0), start_time_seconds REAL,
    end_time_seconds REAL, clip_duration_seconds REAL, extraction_method TEXT,
    clip_file_path TEXT, content_id_risk TEXT DEFAULT 'unknown'
);
CREATE INDEX IF NOT EXISTS idx_videos ON discovered_videos (niche, discovered_at DESC);
INSERT INTO discovered_videos (video_id, title, channel_name, channel_id, url, niche)
    VALUES ('v1', 'ü', 'c', 'UC', 'u', 'n');
INSERT INTO pipeline_runs (niche, cycle_start, cycle_end) VALUES ('n', '2026-01-01', '2026-01-02');
INSERT INTO clips (pipeline_run_id, discovered_video_id, rank_position, start_time_seconds,
    end_time_seconds, clip_duration_seconds) VALUES (1, 1, 1, 0.5, 1.5, 1);
"""


def test_a_file_of_hand_written_sql_is_adopted(alembic: Program, tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    build(path, WRITTEN_BY_HAND)
    before, rows = schema(path), row_hashes(path)
    done = alembic("-x", "url=d.db", "upgrade", "head")
    assert done.returncode == 0, done.stdout
    assert version(path) == [HEAD]
    assert schema(path).items() >= before.items()
    assert row_hashes(path).items() >= rows.items()
    warned = [line for line in done.stderr.splitlines() if "may be NULL where NOT NULL" in line]
    assert len(warned) == 14
    assert any("the column clips.pipeline_run_id may be NULL" in line for line in warned)
    assert alembic("-x", "url=d.db", "check").returncode == 0
    assert alembic("-x", "url=d.db", "downgrade", "0001").returncode == 0
    assert row_hashes(path).items() >= rows.items()


@pytest.mark.parametrize(
    ("table", "column"),
    [("clips", "pipeline_run_id"), ("pipeline_runs", "status"), ("discovered_videos", "url")],
)
def test_a_file_of_hand_written_sql_with_a_null_is_refused(
    alembic: Program, tmp_path: Path, table: str, column: str
) -> None:
    path = tmp_path / "d.db"
    build(path, f"{WRITTEN_BY_HAND}; UPDATE {table} SET {column} = NULL")
    before = file_hash(path)
    done = alembic("-x", "url=d.db", "upgrade", "head")
    assert done.returncode != 0
    (message,) = done.stdout.splitlines()
    where = f"column {table}.{column} may be NULL where NOT NULL belongs, and is in 1 rows"
    assert where in message
    assert file_hash(path) == before


def test_a_file_created_by_other_models_is_adopted(tmp_path: Path) -> None:
    """create_all of other models that were written from the same description."""
    metadata = MetaData()
    types: dict[str, Any] = {"INTEGER": Integer, "FLOAT": Double, "TEXT": String(200)}
    for name, shape in schema_of_script(legacy_database.SCHEMA).items():
        columns: list[Column[Any]] = [
            Column(
                column,
                *[
                    ForeignKey(f"{key.table}.{key.referred[0]}")
                    for key in shape.foreign_keys
                    if key.columns == (column,)
                ],
                type_=types.get(
                    found.declared, TIMESTAMP if found.declared == "DATETIME" else Text
                ),
                primary_key=column in shape.primary_key,
                unique=(column,) in shape.unique,
            )
            for column, found in shape.columns.items()
        ]
        Table(name, metadata, *columns, sqlite_autoincrement=True)
    path = tmp_path / "others.db"
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    before = schema(path)
    command.upgrade(alembic_config(str(path)), "head")
    assert schema(path).items() >= before.items()
    command.check(alembic_config(str(path)))


def test_newest_tables_with_one_mismatch_are_refused(tmp_path: Path, alembic: Program) -> None:
    path = tmp_path / "newest.db"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE shorts DROP COLUMN title")
    engine.dispose()
    before = file_hash(path)
    done = alembic("-x", f"url={path}", "upgrade", "head")
    assert done.returncode != 0
    assert f"(revision {HEAD}): column shorts.title is missing." in done.stdout
    assert file_hash(path) == before


def test_a_missing_index_is_logged(alembic: Program, tmp_path: Path) -> None:
    build(tmp_path / "d.db", GENUINE["an index missing"](legacy_database.SCHEMA))
    done = alembic("-x", "url=d.db", "upgrade", "head")
    assert "lacks the index idx_clips_pipeline on clips (pipeline_run_id)" in done.stderr
