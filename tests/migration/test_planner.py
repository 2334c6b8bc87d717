"""What a command will do to a database, and the versions that are refused."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import extra_revision
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from inspect_sqlite import execute, history, schema, version
from project import HEAD, NEXT
from sqlalchemy import Connection, NullPool, create_engine, text

from shortsdb.migration import MigrationRefused, alembic_config
from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.plan import (
    known_revisions,
    refuse_several_heads,
    refuse_strange_version,
    refuse_unversioned,
    runs_alone,
)
from shortsdb.migration.revisions import revision_ids
from shortsdb.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TARGET = Target.parse("d.db")
SCRIPT = ScriptDirectory.from_config(alembic_config())


def test_revisions_are_known_newest_first() -> None:
    assert known_revisions(SCRIPT) == revision_ids()[::-1]


@pytest.mark.parametrize("heads", [(), ("0001",), (HEAD,)])
def test_a_version_of_this_release_is_not_strange(heads: tuple[str, ...]) -> None:
    refuse_strange_version(heads, SCRIPT, TARGET)
    refuse_several_heads(SCRIPT)


NEWER = f"/d.db is at revision {{}}, and this release knows none after {HEAD}: newer code made it"
OTHER = "/d.db is at revision {!r}, which is not a revision of this release: its alembic_version"


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ((NEXT,), NEWER.format(NEXT)),
        (("9999",), NEWER.format("9999")),
        (("0000",), OTHER.format("0000")),
        (("42",), OTHER.format("42")),
        (("00042",), OTHER.format("00042")),
        (("f00d",), OTHER.format("f00d")),
        (("",), OTHER.format("")),
        ((7,), OTHER.format("7")),
        ((HEAD, "0003"), f"/d.db has 2 versions (0003, {HEAD}) where there can be one"),
        ((8, 3), "/d.db has 2 versions (3, 8) where there can be one"),
    ],
)
def test_a_strange_version_is_refused(heads: tuple[str, ...], message: str) -> None:
    with pytest.raises(MigrationRefused) as refused:
        refuse_strange_version(heads, SCRIPT, TARGET)
    assert message in str(refused.value)
    assert "othing was changed" in str(refused.value)


def test_only_a_version_can_be_downgraded() -> None:
    refuse_unversioned(("0001",), TARGET)
    with pytest.raises(
        MigrationRefused, match=r"/d\.db has no version, so there is nothing to down"
    ):
        refuse_unversioned((), TARGET)


@pytest.mark.parametrize(
    ("attributes", "alone"),
    [("", False), ("transactional = True", False), ("transactional = False", True)],
)
def test_a_revision_declares_that_it_runs_alone(
    tmp_path: Path, attributes: str, *, alone: bool
) -> None:
    extra_revision.add(tmp_path, "pass", attributes=attributes)
    script = ScriptDirectory.from_config(extra_revision.config(tmp_path, None))
    assert runs_alone(script, NEXT) == alone


@pytest.fixture
def memory() -> Iterator[Connection]:
    """Return a connection to a database in memory."""
    with create_engine("sqlite://", poolclass=NullPool).connect() as connection:
        yield connection


def run(connection: Connection, name: str, revision: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    getattr(command, name)(config, revision)


def deployed(connection: Connection, revision: str = "0001") -> None:
    """Create the tables of a revision, with no version."""
    connection.connection.cursor().executescript(BASELINES[revision])


def at(connection: Connection) -> object:
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    connection.rollback()
    return found


RUN = (
    "INSERT INTO pipeline_runs (niche, cycle_start, cycle_end, status, retry_count)"
    " VALUES ('n', '2026-01-01', '2026-01-02', 'pending', 0)"
)


def test_a_downgrade_never_drops_rows_of_the_first_revision(memory: Connection) -> None:
    run(memory, "upgrade", "head")
    memory.execute(text(RUN))
    memory.commit()
    for revision in ("base", f"-{len(revision_ids())}"):
        with pytest.raises(MigrationRefused) as refused:
            run(memory, "downgrade", revision)
        assert str(refused.value).startswith(
            "downgrade below 0001 would drop pipeline_runs with the rows in it; nothing was changed"
        )
        assert at(memory) == HEAD
    run(memory, "downgrade", "0001")
    assert at(memory) == "0001"
    with pytest.raises(MigrationRefused, match="downgrade below 0001 would drop pipeline_runs"):
        run(memory, "downgrade", "-1")
    memory.execute(text("DELETE FROM pipeline_runs"))
    memory.commit()
    run(memory, "downgrade", "base")
    assert at(memory) is None


@pytest.mark.parametrize("revision", ["base", "0001"])
def test_a_database_without_a_version_is_not_downgraded(memory: Connection, revision: str) -> None:
    deployed(memory)
    with pytest.raises(MigrationRefused, match="has no version, so there is nothing to downgrade"):
        run(memory, "downgrade", revision)


def test_a_destination_that_was_passed_is_no_refusal_of_the_version(memory: Connection) -> None:
    run(memory, "upgrade", "0002")
    with pytest.raises(MigrationRefused, match=r"^the database is not past 0005, and downgrade"):
        run(memory, "downgrade", "0005")


def test_an_adoption_says_what_the_database_lacks(
    memory: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    tables = BASELINES["0001"].replace("niche VARCHAR NOT NULL", "niche VARCHAR")
    assert tables != BASELINES["0001"]
    memory.connection.cursor().executescript(tables)
    memory.connection.cursor().execute("DROP INDEX idx_pipeline_runs_status")
    with caplog.at_level(logging.INFO, "shortsdb.migration.plan"):
        run(memory, "upgrade", "0001")
    said = [record for record in caplog.records if record.name == "shortsdb.migration.plan"]
    assert [record.levelname for record in said] == ["INFO", *["WARNING"] * (len(said) - 1)]
    adopted, *warnings = [record.getMessage() for record in said]
    assert adopted.endswith(
        "has no version; its tables are those of revision 0001 (clips, discovered_videos,"
        " pipeline_runs): adopting it there as it is"
    )
    assert [warning.partition("; ")[0].rpartition(": ")[2] for warning in warnings] == [
        "the column discovered_videos.niche may be NULL where NOT NULL belongs",
        "the column pipeline_runs.niche may be NULL where NOT NULL belongs",
        "CREATE INDEX makes its queries fast again",
    ]
    assert "lacks the index idx_pipeline_runs_status on pipeline_runs (status)" in warnings[-1]
    assert at(memory) == "0001"


def test_what_is_recognised_is_adopted_before_the_steps(
    memory: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    deployed(memory)
    with caplog.at_level(logging.INFO, "shortsdb.migration"):
        run(memory, "upgrade", "+1")
    assert at(memory) == "0002"
    assert "is new" not in caplog.text
    assert caplog.text.count("may be NULL") == caplog.text.count("lacks the index") == 0


def test_each_step_and_the_end_are_said(
    memory: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    def said(name: str, revision: str) -> list[str]:
        caplog.clear()
        run(memory, name, revision)
        found = [one for one in caplog.records if one.name == "shortsdb.migration.environment"]
        assert {one.levelname for one in found} == {"INFO"}
        return [one.getMessage() for one in found]

    scripts = SCRIPT.get_revision("0002").doc
    caplog.set_level(logging.INFO, "shortsdb.migration.environment")
    first = f"upgrade 0001: {SCRIPT.get_revision('0001').doc}"
    now = "sqlite:// is now at"
    assert said("upgrade", "0002") == [
        first,
        f"upgrade 0002: {scripts}",
        f"{now} 0002 (it had no version), in one transaction",
    ]
    assert said("upgrade", "0002") == ["sqlite:// is at 0002 already: nothing to do"]
    assert said("upgrade", "0001") == [
        "sqlite:// is at 0002 already, which is past 0001: nothing to do; downgrade goes back"
    ]
    assert said("downgrade", "0001") == [
        f"downgrade 0002: {scripts}",
        f"{now} 0001 (it had 0002), in one transaction",
    ]
    assert said("stamp", "0003") == [f"{now} 0003 (it had 0001), in one transaction"]
    assert said("stamp", "0001") == [f"{now} 0001 (it had 0003), in one transaction"]
    assert said("downgrade", "base") == [
        first.replace("upgrade", "downgrade"),
        f"{now} base (it had 0001), in one transaction",
    ]


def test_a_revision_that_is_not_known_is_refused_with_those_that_are(memory: Connection) -> None:
    run(memory, "upgrade", "0002")
    with pytest.raises(MigrationRefused) as refused:
        run(memory, "upgrade", "0042")
    assert f"this release knows 0001 to {HEAD}; nothing was changed" in str(refused.value)


def test_a_stamp_adopts_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "d.db"
    execute(path, BASELINES["0001"])
    with caplog.at_level(logging.INFO, "shortsdb.migration.plan"):
        command.stamp(alembic_config(str(path)), "0003")
    assert not [one for one in caplog.records if one.name == "shortsdb.migration.plan"]
    assert version(path) == ["0003"]
    assert history(path) == [("stamp", None, "0003")]


def test_purge_replaces_a_version_of_other_software(memory: Connection) -> None:
    run(memory, "upgrade", "0001")
    memory.execute(text("UPDATE alembic_version SET version_num = 'of others'"))
    memory.execute(text("CREATE TABLE _alembic_tmp_clips (id INTEGER)"))
    memory.commit()
    config = alembic_config()
    config.attributes["connection"] = memory
    with pytest.raises(MigrationRefused, match="_alembic_tmp_clips"):
        command.stamp(config, "0001")
    memory.execute(text("DROP TABLE _alembic_tmp_clips"))
    memory.commit()
    with pytest.raises(MigrationRefused, match="'of others', which is not a revision"):
        command.stamp(config, "0001")
    command.stamp(config, "0001", purge=True)
    assert at(memory) == "0001"


def test_a_new_file_is_said_to_be_new_and_a_database_in_memory_is_not(
    memory: Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(memory, "upgrade", "0001")
    assert not caplog.records
    path = tmp_path / "d.db"
    command.upgrade(alembic_config(str(path)), "0001")
    (said,) = caplog.records
    assert said.levelname == "WARNING"
    assert said.getMessage() == f"{path} is new: creating the schema from the first revision"
    command.upgrade(alembic_config(str(path), must_exist=True), "0002")
    assert len(caplog.records) == 1
    assert "scripts" in schema(path)
