"""Written rows are compared with the source in the state that the commit makes visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import Column, Integer, MetaData

from shortsdb.migration import MigrationRefused
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import metadata
from shortsdb.target import Target
from shortsdb.transfer import copy, postgresql
from shortsdb.transfer.postgresql import Postgres, connected
from shortsdb.transfer.sqlite import Sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from postgresql_server import Database

SHOUT = """
    CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        UPDATE config_overrides SET value = upper(value) || '!' WHERE value NOT LIKE '%!';
        RETURN NULL;
    END $$;
"""
TRIGGERS = {
    "of its own row": """
        CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            NEW.value := upper(NEW.value) || '!'; RETURN NEW;
        END $$;
        CREATE TRIGGER t BEFORE INSERT ON config_overrides FOR EACH ROW EXECUTE FUNCTION shout()
    """,
    "of another table": f"""{SHOUT}
        CREATE TRIGGER t AFTER INSERT ON review_logs FOR EACH STATEMENT EXECUTE FUNCTION shout()
    """,
    "deferred": f"""{SHOUT}
        CREATE CONSTRAINT TRIGGER t AFTER INSERT ON config_overrides
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shout()
    """,
    "of what follows the copy": f"""
        {SHOUT.replace("RETURNS trigger", "RETURNS event_trigger").replace("RETURN NULL;", "")}
        CREATE EVENT TRIGGER t ON ddl_command_end WHEN TAG IN ('ALTER SEQUENCE')
        EXECUTE FUNCTION shout()
    """,
}


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_row_that_a_trigger_changes_refuses_the_copy(
    full_file: Path, target: Database, trigger: str
) -> None:
    command.upgrade(alembic_config(target.url), "head")
    target.psql(TRIGGERS[trigger])
    before = target.dump()
    phrase = "config_overrides would not be what it is in the source: .* A trigger of the target"
    with pytest.raises(MigrationRefused, match=phrase):
        copy(str(full_file), target.url)
    assert target.dump() == before


def test_a_harmless_deferred_trigger_is_accepted(full_file: Path, target: Database) -> None:
    command.upgrade(alembic_config(target.url), "head")
    target.psql(
        "CREATE TABLE audit (key text);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO audit VALUES (NEW.key); RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON config_overrides"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()"
    )
    copy(str(full_file), target.url)
    assert target.psql("SELECT count(*) FROM audit") == "2\n"


@pytest.mark.parametrize("side", [Postgres, Sqlite], ids=["postgresql", "sqlite"])
@pytest.mark.parametrize("damage", ["changed", "lost", "doubled", "swapped"])
def test_a_row_that_is_not_written_as_it_was_read_refuses_the_copy(  # noqa: PLR0913, PLR0917 - fixtures
    full_file: Path,
    target: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    side: type[Postgres | Sqlite],
    damage: str,
) -> None:
    source, to = str(full_file), target.url
    if side is Sqlite:
        copy(source, to)
        source, to = to, str(tmp_path / "back.db")
    write: Any = side.write

    def write_damaged(self: object, table: Any, parts: Iterable[list[bytes]]) -> None:  # noqa: ANN401 - handed on
        write(self, table, damaged(parts) if table.name == "error_logs" else parts)

    def damaged(parts: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
        for rows in parts:
            if damage == "changed":
                yield [row.replace(b"KeyError", b"KeyErr0r") for row in rows]
            elif damage == "lost":
                yield rows[:-1]
            elif damage == "doubled":
                key = b"\0\0\0\x08" + (2).to_bytes(8, "big")
                yield [*rows, rows[-1].replace(key, key[:-1] + b"\x09", 1)]
            else:
                first, second = (row[2:14] for row in rows)
                yield [rows[0].replace(first, second, 1), rows[1].replace(second, first, 1)]

    monkeypatch.setattr(side, "write", write_damaged)
    with pytest.raises(MigrationRefused, match="error_logs would not be what it is in the source"):
        copy(source, to)
    if side is Sqlite:
        assert [path.name for path in tmp_path.iterdir()] == ["deployed.db"]
    else:
        assert not target.psql("SELECT FROM pg_tables WHERE schemaname = 'public'")


def test_tables_of_an_older_revision_may_lack_a_column(
    target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of the last release do as soon as a model has a new column."""
    command.upgrade(alembic_config(target.url), "head")
    newer = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(newer).append_column(Column("of_the_next_release", Integer))
    monkeypatch.setattr(postgresql, "metadata", newer)
    with connected(Target.parse(target.url)) as there:
        there.refuse_unusable_target()
        there.connection.exec_driver_sql("INSERT INTO config_overrides (key, value) VALUES (1, 2)")
        with pytest.raises(MigrationRefused, match="is not empty: config_overrides hold rows"):
            there.refuse_unusable_target()


def test_the_tables_are_locked_during_the_copy(
    full_file: Path, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.upgrade(alembic_config(target.url), "head")
    finish = Postgres.finish
    refused: list[str] = []

    def write_beside(self: Postgres) -> None:
        with psycopg.connect(target.server.url(target.name), autocommit=True) as other:
            other.execute("SET lock_timeout = '10ms'")
            for table in metadata.tables:
                other.execute(f"SELECT count(*) FROM {table}".encode())
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    other.execute(f"DELETE FROM {table}".encode())
                refused.append(table)
        finish(self)

    monkeypatch.setattr(Postgres, "finish", write_beside)
    copy(str(full_file), target.url)
    assert refused == list(metadata.tables)


@pytest.mark.parametrize(("setting", "during"), [("off", "on"), ("local", "local"), ("on", "on")])
def test_the_commit_is_durable_whatever_the_settings_of_the_database(
    full_file: Path,
    target: Database,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    during: str,
) -> None:
    target.psql(f"ALTER DATABASE {target.name} SET synchronous_commit = {setting}")
    finish = Postgres.finish
    found: list[str] = []

    def look(self: Postgres) -> None:
        finish(self)
        cursor = self.connection.exec_driver_sql("SHOW synchronous_commit")
        found.append(cursor.scalar_one())

    monkeypatch.setattr(Postgres, "finish", look)
    copy(str(full_file), target.url)
    assert found == [during]
