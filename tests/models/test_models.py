"""The models: rows in and out, defaults, relationships, names."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from enum import EnumType
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.schema import ColumnCollectionConstraint

import shortsdb.models
from shortsdb.models import (
    Analytics,
    Base,
    Clip,
    ConfigOverride,
    DiscoveredVideo,
    ErrorLog,
    PipelineRun,
    ReviewLog,
    Script,
    Short,
    TTSAudio,
    vocabularies,
)
from shortsdb.models.base import NAMING_CONVENTION

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

NOON = datetime(2026, 5, 6, 12, 0, 0, 123456)  # noqa: DTZ001 - the models hold naive UTC


def a_run() -> PipelineRun:
    return PipelineRun(niche="cats", cycle_start=NOON, cycle_end=NOON + timedelta(hours=6))


def a_video() -> DiscoveredVideo:
    return DiscoveredVideo(
        video_id="v1", title="t", channel_name="c", channel_id="c1", url="u", niche="cats"
    )


def a_clip(run: PipelineRun, video: DiscoveredVideo) -> Clip:
    return Clip(
        pipeline_run=run,
        discovered_video=video,
        rank_position=1,
        start_time_seconds=0.5,
        end_time_seconds=2.0,
        clip_duration_seconds=1.5,
    )


def a_script(run: PipelineRun) -> Script:
    return Script(
        pipeline_run=run,
        full_script={"lines": ["猫が歌う", "é"], "n": 1},
        total_char_count=5,
        estimated_duration_seconds=1.0,
        llm_model_used="llm",
    )


def children(run: PipelineRun, clip: Clip) -> list[Base]:
    return [
        a_script(run),
        TTSAudio(pipeline_run=run, engine_used="e"),
        Short(pipeline_run=run, clip=clip),
        ReviewLog(pipeline_run=run),
        ErrorLog(pipeline_run=run, module="m", error_type="E", error_message="x"),
    ]


def a_row_of_each_table() -> list[Base]:
    run, video = a_run(), a_video()
    clip = a_clip(run, video)
    override = ConfigOverride(key="k", value="v", updated_by="me")
    return [run, video, clip, *children(run, clip), Analytics(youtube_video_id="y"), override]


def test_importing_the_models_imports_sqlalchemy_and_nothing_else() -> None:
    report = "import sys; print(*{n.partition('.')[0] for n in sys.modules})"
    loaded = [
        set(
            subprocess.run(
                [sys.executable, "-c", f"import {module}; {report}"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
        )
        for module in ("shortsdb.models", "sqlalchemy.orm")
    ]
    more = loaded[0] - loaded[1] - set(sys.stdlib_module_names)
    assert more == {"shortsdb"}


def test_all_lists_every_model_base_and_metadata() -> None:
    mapped = {mapper.class_.__name__ for mapper in Base.registry.mappers}
    enums = {name for name in vars(vocabularies) if isinstance(vars(vocabularies)[name], EnumType)}
    enums -= {"IntEnum", "StrEnum"}
    assert len(enums) >= 5
    assert set(shortsdb.models.__all__) == mapped | enums | {"OWN_TABLES", "Base", "metadata"}
    assert all(hasattr(shortsdb.models, name) for name in shortsdb.models.__all__)


def test_every_constraint_and_index_is_named_by_the_convention() -> None:
    given = {
        "idx_discovered_videos_niche",
        "idx_discovered_videos_processed",
        "idx_pipeline_runs_niche",
        "idx_pipeline_runs_status",
        "idx_clips_pipeline",
        "idx_analytics_video",
        "idx_error_log_module",
    }
    seen = set()
    for table in Base.metadata.tables.values():
        for constraint in table.constraints:
            assert isinstance(constraint, ColumnCollectionConstraint)
            columns = "_".join(column.name for column in constraint.columns)
            if isinstance(constraint, PrimaryKeyConstraint):
                assert constraint.name == f"pk_{table.name}"
            elif isinstance(constraint, UniqueConstraint):
                assert constraint.name == f"uq_{table.name}_{columns}"
            else:
                assert isinstance(constraint, ForeignKeyConstraint)
                referred = constraint.referred_table.name
                assert constraint.name == f"fk_{table.name}_{columns}_{referred}"
        for index in table.indexes:
            columns = "_".join(column.name for column in index.columns)
            assert index.name in {f"ix_{table.name}_{columns}", *given}
            seen.add(index.name)
    assert given <= seen


def test_python_and_server_defaults_agree(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO pipeline_runs (niche, cycle_start, cycle_end, status, retry_count)"
                " VALUES ('n', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, 'pending', 0)"
            )
        )
        for statement in (
            "INSERT INTO scripts (pipeline_run_id, full_script_json, llm_model_used,"  # noqa: ISC004 - one statement
            " total_char_count, estimated_duration_seconds) VALUES (1, '[]', '', 0, 0)",
            "INSERT INTO tts_audio (pipeline_run_id, engine_used) VALUES (1, 'e')",
            "INSERT INTO shorts (pipeline_run_id) VALUES (1)",
            "INSERT INTO analytics (youtube_video_id) VALUES ('y')",
            "INSERT INTO review_logs (pipeline_run_id) VALUES (1)",
            "INSERT INTO config_overrides (key, value) VALUES ('a', 'v')",
            "INSERT INTO error_logs (module, error_type, error_message) VALUES ('m', 'E', 'x')",
        ):
            connection.execute(text(statement))
    with Session(engine) as session:
        run = session.get_one(PipelineRun, 1)
        session.add_all(
            [
                a_script(run),
                TTSAudio(pipeline_run=run, engine_used="e"),
                Short(pipeline_run=run),
                Analytics(youtube_video_id="y"),
                ReviewLog(pipeline_run=run),
                ConfigOverride(key="b", value="v"),
                ErrorLog(module="m", error_type="E", error_message="x"),
            ]
        )
        session.commit()
        now = datetime.now(UTC).replace(tzinfo=None)
        for model in (Script, TTSAudio, Short, Analytics, ReviewLog, ConfigOverride, ErrorLog):
            raw, orm = session.scalars(select(model).order_by(*model.__mapper__.primary_key)).all()
            defaulted = [c for c in model.__table__.columns if c.server_default is not None]
            assert defaulted
            for column in defaulted:
                assert column.default is not None
                by_raw, by_orm = getattr(raw, column.key), getattr(orm, column.key)
                if isinstance(by_raw, datetime):
                    assert by_raw.tzinfo is by_orm.tzinfo is None
                    assert abs(now - by_raw) < timedelta(minutes=5)
                    assert abs(now - by_orm) < timedelta(minutes=5)
                else:
                    assert by_raw == by_orm


def test_defaults_of_the_deployed_tables_are_those_of_new_rows(engine: Engine) -> None:
    """They have none on the server."""
    with Session(engine) as session:
        video = DiscoveredVideo(
            video_id="v", title="t", channel_name="c", channel_id="c", url="u", niche="n"
        )
        run = PipelineRun(niche="n", cycle_start=NOON, cycle_end=NOON)
        times = dict.fromkeys(
            ("start_time_seconds", "end_time_seconds", "clip_duration_seconds"), 1.5
        )
        clip = Clip(pipeline_run=run, discovered_video=video, rank_position=1, **times)
        session.add(clip)
        session.commit()
        assert (video.processed, video.content_id_risk) == (0, "unknown")
        assert (run.status, run.retry_count) == ("pending", 0)
        assert clip.content_id_risk == "unknown"
        now = datetime.now(UTC).replace(tzinfo=None)
        assert abs(now - video.discovered_at) < timedelta(minutes=5)


def test_no_row_is_deleted_or_changed_because_another_is() -> None:
    keys = [key for table in Base.metadata.tables.values() for key in table.foreign_keys]
    assert len(keys) >= 8
    assert {(key.ondelete, key.onupdate) for key in keys} == {(None, None)}


def type_name(type_: TypeEngine[Any], engine: Engine) -> str:
    return type_.compile(engine.dialect).replace("DOUBLE PRECISION", "FLOAT")


def test_a_migrated_database_has_the_columns_indexes_and_keys_of_the_models(engine: Engine) -> None:
    there = inspect(engine)
    for name, table in Base.metadata.tables.items():
        found = {
            index["name"]: (index["column_names"], bool(index["unique"]))
            for index in there.get_indexes(name)
            if "duplicates_constraint" not in index
        }
        assert found == {
            index.name: ([column.name for column in index.columns], index.unique)
            for index in table.indexes
        }
        unique = {tuple(each["column_names"]) for each in there.get_unique_constraints(name)}
        assert unique == {
            tuple(constraint.columns.keys())
            for constraint in table.constraints
            if isinstance(constraint, UniqueConstraint)
        }
        keys = {
            (key["constrained_columns"][0], key["referred_table"], *key["options"])
            for key in there.get_foreign_keys(name)
        }
        assert keys == {(key.parent.name, key.column.table.name) for key in table.foreign_keys}
        columns = {
            each["name"]: (type_name(each["type"], engine), each["nullable"], each["default"])
            for each in there.get_columns(name)
        }
        assert columns.keys() == set(table.columns.keys())
        for column in table.columns:
            type_, nullable, default = columns[column.name]
            assert type_ == type_name(column.type, engine)
            assert nullable == column.nullable
            if not column.primary_key:  # which the server numbers
                assert (default is None) == (column.server_default is None)


def test_constraints_of_further_tables_have_names_that_tell_them_apart() -> None:
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    Table("runs", metadata, Column("id", Integer, primary_key=True))
    table = Table(
        "notes",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("run", ForeignKey("runs.id")),
        Column("place", Integer),
        CheckConstraint("place > 0", name="positive"),
        UniqueConstraint("run", "place"),
        Index(None, "place", "run"),
    )
    indexes = {str(index.name) for index in table.indexes}
    assert {str(constraint.name) for constraint in table.constraints} | indexes == {
        "pk_notes",
        "fk_notes_run_runs",
        "ck_notes_positive",
        "uq_notes_run_place",
        "ix_notes_place_run",
    }


def test_of_a_new_row_only_what_is_given_is_known(engine: Engine) -> None:
    """A count that YouTube did not report is not 0, and a new review is not answered."""
    with Session(engine) as session:
        rows = a_row_of_each_table()
        session.add_all(rows)
        session.commit()
        known = {
            f"{row.__tablename__}.{column.name}"
            for row in rows
            for column in row.__table__.columns
            if column.nullable and getattr(row, column.name) is not None
        }
    assert known == {"shorts.clip_id", "error_logs.pipeline_run_id"}


def test_an_update_changes_what_is_assigned_and_nothing_else(engine: Engine) -> None:
    """But updated_at. When a review was sent is still known when it is answered."""
    changes: dict[type[Base], dict[str, object]] = {
        Analytics: {"view_count": 5},
        Clip: {"clip_file_path": "f"},
        ConfigOverride: {"value": "w"},
        DiscoveredVideo: {"processed": 1},
        ErrorLog: {"resolved": 1},
        PipelineRun: {"status": "running"},
        ReviewLog: {"action": "approve"},
        Script: {"opening_text": "o"},
        Short: {"title": "t"},
        TTSAudio: {"voice_profile": "p"},
    }
    with Session(engine) as session:
        rows = a_row_of_each_table()
        session.add_all(rows)
        session.commit()
        assert changes.keys() == set(map(type, rows))
        for row in rows:
            before = row.to_dict()
            for key, value in changes[type(row)].items():
                setattr(row, key, value)
            session.commit()
            after = row.to_dict()
            changed = {key: after[key] for key in after if after[key] != before[key]}
            if isinstance(row, ConfigOverride):
                assert changed.pop("updated_at") > before["updated_at"]
            assert changed == changes[type(row)]


def test_an_update_moves_updated_at(engine: Engine) -> None:
    with Session(engine) as session:
        override = ConfigOverride(key="k", value="1", updated_at=NOON)
        session.add(override)
        session.commit()
        override.value = "2"
        session.commit()
        assert override.updated_at > NOON
        assert override.updated_by == "system"


@pytest.mark.parametrize(
    "given",
    [
        NOON,
        NOON.replace(tzinfo=UTC),
        NOON.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=5, minutes=45))),
        NOON.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=-11))),
    ],
    ids=["naive", "utc", "east", "west"],
)
def test_a_moment_of_any_offset_comes_back_as_naive_utc(engine: Engine, given: datetime) -> None:
    with Session(engine) as session:
        session.add(Analytics(youtube_video_id="y", measured_at=given))
        session.commit()
        in_utc = " AT TIME ZONE 'UTC'" if engine.dialect.name == "postgresql" else ""
        stored = session.scalar(text(f"SELECT CAST(measured_at{in_utc} AS TEXT) FROM analytics"))
        assert stored == "2026-05-06 12:00:00.123456"  # on SQLite the text of plain DateTime
        assert session.scalars(select(Analytics.measured_at)).one() == NOON
        assert session.scalars(
            select(Analytics.id).where(Analytics.measured_at == given)
        ).all() == [1]


def test_an_offset_stored_by_raw_sql_is_converted(engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(
            text(
                "INSERT INTO analytics (youtube_video_id, measured_at)"
                " VALUES ('y', '2026-05-06 14:00:00.123456+02:00')"
            )
        )
        assert session.scalars(select(Analytics.measured_at)).one() == NOON


def test_full_script_is_the_json_text_as_objects(engine: Engine) -> None:
    with Session(engine) as session:
        script = a_script(a_run())
        session.add(script)
        session.commit()
        assert "猫が歌う" in script.full_script_json
        assert script.full_script == json.loads(script.full_script_json)
        script.full_script = [1, None]
        session.commit()
        assert script.full_script_json == "[1, null]"
        script.full_script = {"last": 1, "first": 2}
        assert list(script.full_script) == ["last", "first"]
        with pytest.raises(ValueError, match="not JSON compliant"):
            script.full_script = float("nan")
        with pytest.raises(TypeError, match="not JSON serializable"):
            script.full_script = NOON
        assert script.full_script == {"last": 1, "first": 2}


def test_relationships_are_bidirectional(engine: Engine) -> None:
    with Session(engine) as session:
        run, video = a_run(), a_video()
        clip = a_clip(run, video)
        session.add_all(children(run, clip))
        session.commit()
    with Session(engine) as session:
        run = session.scalars(select(PipelineRun)).one()
        for collection in ("clips", "scripts", "tts_audio", "shorts", "review_logs", "error_logs"):
            (child,) = getattr(run, collection)
            assert child.pipeline_run is run
        clip = run.clips[0]
        assert clip.discovered_video.clips == [clip]
        assert clip.shorts == run.shorts
        assert clip.shorts[0].clip is clip


def test_a_new_child_is_in_the_collection_of_its_parent_at_once() -> None:
    run, video = a_run(), a_video()
    clip = a_clip(run, video)
    for child in (clip, *children(run, clip)):
        assert getattr(run, child.__tablename__) == [child]
    assert video.clips == [clip]
    assert clip.shorts == run.shorts


def test_a_run_with_children_cannot_be_deleted_and_no_key_is_nulled(engine: Engine) -> None:
    with Session(engine) as session:
        run, video = a_run(), a_video()
        clip = a_clip(run, video)
        session.add_all(children(run, clip))
        session.commit()
        for parent in (run, video, clip):
            session.delete(parent)
            with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
                session.commit()
            session.rollback()
        assert session.scalars(select(Short.clip_id)).one() == clip.id
        assert session.scalars(select(ErrorLog.pipeline_run_id)).one() == run.id


@pytest.mark.parametrize(
    "collection", ["clips", "scripts", "tts_audio", "shorts", "review_logs", "error_logs"]
)
def test_a_child_of_any_one_kind_keeps_its_run(engine: Engine, collection: str) -> None:
    with Session(engine) as session:
        run, other = a_run(), a_run()
        clip = a_clip(run, a_video())
        session.add_all([clip, *children(run, clip), other])
        session.commit()
        (child,) = getattr(run, collection)
        child.pipeline_run = other
        session.commit()
        assert getattr(other, collection) == [child]  # loaded, as a session may change it then
        session.delete(other)
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
            session.commit()
        session.rollback()
        assert child.pipeline_run is other


def test_loaded_children_of_videos_and_clips_keep_them_too(engine: Engine) -> None:
    with Session(engine) as session:
        run, video = a_run(), a_video()
        clip = a_clip(run, video)
        short = Short(pipeline_run=run, clip=clip)
        session.add_all([clip, short])
        session.commit()
        for parent, loaded in ((clip, clip.shorts), (video, video.clips)):
            assert len(loaded) == 1
            session.delete(parent)
            with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
                session.commit()
            session.rollback()
        assert short.clip is clip
        assert clip.discovered_video is video


def test_a_parent_stays_when_its_children_are_deleted(engine: Engine) -> None:
    with Session(engine) as session:
        run, video = a_run(), a_video()
        clip = a_clip(run, video)
        rows = children(run, clip)
        session.add_all(rows)
        session.commit()
        for child in (*rows, clip):
            session.delete(child)
            session.commit()
        assert session.scalars(select(PipelineRun)).one() is run
        assert session.scalars(select(DiscoveredVideo)).one() is video


def test_a_row_without_its_parent_is_refused(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(Short(pipeline_run_id=77))
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
            session.commit()


def test_to_dict_leaves_out_what_is_excluded_and_what_an_unsaved_row_has_not(
    engine: Engine,
) -> None:
    with Session(engine) as session:
        override = ConfigOverride(key="k", value="v")
        assert override.to_dict(exclude=["key"]) == {"value": "v"}
        assert override.to_dict(exclude=[]) == {"key": "k", "value": "v"}
        assert override.to_dict().keys() == {"key", "value", "updated_at", "updated_by"}
        session.add(override)
        session.commit()  # which expires it
        assert override.to_dict(exclude=["key"]).keys() == {"value", "updated_at", "updated_by"}


def test_to_dict_holds_every_column_and_no_relationship(engine: Engine) -> None:
    with Session(engine) as session:
        video = a_video()
        session.add(video)
        session.commit()
        columns = [attribute.key for attribute in inspect(DiscoveredVideo).column_attrs]
        as_dict = video.to_dict()
        assert list(as_dict) == columns
        assert as_dict["video_id"] == "v1"
        assert as_dict["like_count"] is None


def test_repr_is_safe_without_a_session(engine: Engine) -> None:
    with Session(engine) as session:
        run = a_run()
        override = ConfigOverride(key="k", value="v")
        assert repr(run) == "PipelineRun(id=None)"
        assert repr(override) == "ConfigOverride(key='k')"
        session.add_all([run, override])
        session.commit()  # expires both
    assert repr(run) == "PipelineRun(id=1)"
    assert repr(override) == "ConfigOverride(key='k')"
