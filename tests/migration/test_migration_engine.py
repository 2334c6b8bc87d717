"""Connections of commands that change nothing cannot write, and create no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import NullPool, text

from shortsdb.errors import OperationRefused
from shortsdb.migration import MigrationRefused, create_migration_engine, read_only_connection
from shortsdb.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database
    from sqlalchemy import Connection


def test_a_file_cannot_be_written(deployed_file: Path) -> None:
    target = Target.parse(str(deployed_file))
    for statement in ("DELETE FROM clips", "CREATE TABLE t (a)"):
        with (
            pytest.raises(MigrationRefused, match="is read-only"),
            read_only_connection(target) as connection,
        ):
            connection.execute(text(statement))
    with read_only_connection(target) as connection:
        assert connection.scalar(text("SELECT count(*) FROM clips"))


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    target = Target.parse(str(tmp_path / "gone.db"))
    for missing in (target, Target.parse(str(tmp_path / "gone" / "d.db"))):
        with read_only_connection(missing) as connection:
            assert connection.scalar(text("SELECT count(*) FROM sqlite_master")) == 0
    assert not list(tmp_path.iterdir())
    with create_migration_engine(target, changes=True).connect():
        assert target.file
        assert target.file.exists()


@pytest.mark.parametrize("changes", [True, False])
def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path: Path, *, changes: bool) -> None:
    with pytest.raises(OperationRefused, match="is a folder, not a database file"):
        create_migration_engine(Target.parse(str(tmp_path)), changes=changes)


@pytest.mark.parametrize(
    ("driver", "wanted"),
    [
        (
            "psycopg2",
            r"driver postgresql\+psycopg2 is not installed \(pip install 'shortsdb\[postgres\]'\)$",
        ),
        ("pg8000", r"driver postgresql\+pg8000 is not installed$"),
        (
            "nonsense",
            r"postgresql\+nonsense is not known; sqlite, sqlite\+aiosqlite and postgresql\+psycopg",
        ),
    ],
)
def test_a_driver_that_cannot_be_used_is_named_without_the_password(
    driver: str, wanted: str
) -> None:
    target = Target.parse(f"postgresql+{driver}://u:s3cret@h/d")
    with pytest.raises(MigrationRefused, match=wanted) as refused:
        create_migration_engine(target, changes=False)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://u:s3cret@/d?host=a:1,b:x&port=1",
        "postgresql://u:s3cret@/d?host=a,b&port=1,2,3",
        "sqlite:///{}/d.db?timeout=x",
        "sqlite:///{}/d.db?timeout=1&timeout=2",
    ],
)
def test_a_bad_parameter_is_found_before_connecting(tmp_path: Path, given: str) -> None:
    target = Target.parse(given.format(tmp_path))
    with pytest.raises(MigrationRefused, match="the database URL is malformed") as refused:
        create_migration_engine(target, changes=True)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__suppress_context__
    assert refused.value.__cause__ is None  # it may repeat the URL


@pytest.mark.parametrize("way", ["SQLAlchemy", "sqlite3"])
def test_an_error_of_the_driver_is_a_refusal(deployed_file: Path, way: str) -> None:
    def fail(connection: Connection) -> None:
        if way == "SQLAlchemy":
            connection.exec_driver_sql("SELECT absent")
        connection.connection.cursor().execute("SELECT absent")

    target = Target.parse(str(deployed_file))
    wanted = r"deployed\.db: no such column: absent"
    with pytest.raises(MigrationRefused, match=wanted), read_only_connection(target) as connection:
        fail(connection)


def test_a_connection_of_a_read_only_command_is_closed(deployed_file: Path) -> None:
    with read_only_connection(Target.parse(str(deployed_file))) as connection:
        assert connection.in_transaction()
        assert isinstance(connection.engine.pool, NullPool)
    assert connection.closed


def test_moments_of_a_session_are_iso_and_names_are_of_the_schema(target: Database) -> None:
    target.psql(f"ALTER DATABASE {target.name} SET datestyle = 'German'; CREATE SCHEMA one")
    settings = text("SELECT current_setting('datestyle'), current_schema()")
    for schema in ("one", None):
        with read_only_connection(Target.parse(target.url, schema)) as connection:
            datestyle, present = connection.execute(settings).one()
            assert datestyle.startswith("ISO")
            assert present == (schema or "public")


def test_names_are_of_the_schema_in_each_transaction(target: Database) -> None:
    target.psql("CREATE SCHEMA one")
    engine = create_migration_engine(Target.parse(target.url, "one"), changes=True)
    with engine.connect() as connection:
        for end in (connection.commit, connection.rollback, connection.commit):
            assert connection.scalar(text("SELECT current_schema()")) == "one"
            end()
    engine.dispose()


def test_a_database_in_memory_is_an_empty_one() -> None:
    with read_only_connection(Target.parse(":memory:")) as connection:
        assert connection.scalar(text("SELECT count(*) FROM sqlite_master")) == 0


def test_texts_are_utf_8_and_statements_are_not_prepared(
    target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with read_only_connection(Target.parse(target.url)) as connection:
        assert connection.scalar(text("SHOW client_encoding")) == "UTF8"
        driver: Any = connection.connection.driver_connection
        assert driver.prepare_threshold is None
