"""A copy reads all rows of one snapshot in UTF-8, whatever the settings of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic import command
from inspect_sqlite import row_hashes
from postgresql_server import Database, Server

from shortsdb.migration import MigrationRefused
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import metadata
from shortsdb.target import Target
from shortsdb.transfer import copy
from shortsdb.transfer.postgresql import Postgres, snapshot, target_transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

POLICY = (
    "ALTER TABLE clips ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY visible ON clips USING (id < 3) WITH CHECK (true)"
)


@pytest.fixture(scope="module")
def tenant(postgres: Server) -> Iterator[str]:
    """Return a role that owns nothing and may do everything with the rows."""
    postgres.execute("CREATE ROLE tenant LOGIN")
    yield "tenant"
    postgres.execute("DROP ROLE tenant")


def url_of(database: Database, role: str) -> str:
    return database.url.replace("//shortsdb@", f"//{role}@")


def test_rows_that_a_policy_hides_refuse_the_copy(
    full_file: Path, target: Database, tenant: str, tmp_path: Path
) -> None:
    copy(str(full_file), target.url)
    target.psql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {tenant}; {POLICY}")
    phrase = "row-level security hides rows of clips from this user; nothing was written"
    with pytest.raises(MigrationRefused, match=phrase):
        copy(url_of(target, tenant), str(tmp_path / "back.db"))
    assert [path.name for path in tmp_path.iterdir()] == ["deployed.db"]
    # The policy does not apply to the owner.
    copy(target.url, str(tmp_path / "back.db"))
    assert row_hashes(tmp_path / "back.db").keys() == row_hashes(full_file).keys()


def test_rows_that_a_policy_hides_do_not_make_a_target_empty(
    full_file: Path, target: Database, tenant: str
) -> None:
    copy(str(full_file), target.url)
    target.psql(
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {tenant}; {POLICY};"
        "ALTER POLICY visible ON clips USING (false)"
    )
    before = target.dump()
    with pytest.raises(MigrationRefused, match="row-level security hides rows of clips"):
        copy(str(full_file), url_of(target, tenant))
    assert target.dump() == before


def test_tables_whose_rows_are_hidden_are_named_in_order(target: Database, tenant: str) -> None:
    command.upgrade(alembic_config(target.url), "head")
    hidden = sorted(metadata.tables)
    for table in reversed(hidden):
        target.psql(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    with (
        pytest.raises(MigrationRefused, match=f"hides rows of {', '.join(hidden)} from this user"),
        snapshot(Target.parse(url_of(target, tenant))),
    ):
        pass


def test_policies_of_another_schema_refuse_no_copy(
    full_file: Path, target: Database, tenant: str, tmp_path: Path
) -> None:
    copy(str(full_file), target.url)
    target.psql(
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {tenant};"
        "CREATE SCHEMA other; CREATE TABLE other.clips (id int);"
        "ALTER TABLE other.clips ENABLE ROW LEVEL SECURITY"
    )
    copy(url_of(target, tenant), str(tmp_path / "back.db"))
    assert row_hashes(tmp_path / "back.db").keys() == row_hashes(full_file).keys()


def test_a_policy_added_after_the_check_fails_the_query(full_file: Path, target: Database) -> None:
    copy(str(full_file), target.url)
    with snapshot(Target.parse(target.url)) as source:
        assert source.connection.exec_driver_sql("SHOW row_security").scalar() == "off"


def settings_of(connection: Connection) -> dict[str, str]:
    names = ["transaction_isolation", "transaction_read_only", "lock_timeout", "statement_timeout"]
    names += ["client_encoding", "row_security"]
    return {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names}


def test_the_transactions_of_a_copy(target: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    target.psql(f"ALTER DATABASE {target.name} SET statement_timeout = '1min'")
    target.psql(f"ALTER DATABASE {target.name} SET default_transaction_isolation = 'serializable'")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    expected = {"lock_timeout": "5s", "statement_timeout": "0", "client_encoding": "UTF8"}
    expected["row_security"] = "off"
    with target_transaction(Target.parse(target.url)) as there:
        assert settings_of(there.connection) == {
            **expected,
            "transaction_isolation": "read committed",
            "transaction_read_only": "off",
        }
    with snapshot(Target.parse(target.url)) as source:
        assert settings_of(source.connection) == {
            **expected,
            "transaction_isolation": "repeatable read",
            "transaction_read_only": "on",
        }


@pytest.mark.parametrize("setting", ["environment", "database"])
def test_another_client_encoding_changes_no_text(
    full_file: Path,
    target: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
) -> None:
    if setting == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    else:
        target.psql(f"ALTER DATABASE {target.name} SET client_encoding = 'LATIN1'")
    there = copy(str(full_file), target.url)
    assert copy(target.url, str(tmp_path / "back.db")) == there
    monkeypatch.delenv("PGCLIENTENCODING", raising=False)
    text = "SELECT octet_length(opening_text), opening_text FROM scripts WHERE id = 1"
    with psycopg.connect(target.server.url(target.name), client_encoding="utf8") as connection:
        assert connection.execute(text).fetchone() == (13, "Öffnung 🎬")


def test_settings_of_a_database_change_no_value(
    full_file: Path, target: Database, tmp_path: Path
) -> None:
    for setting in (
        "DateStyle = 'SQL, DMY'",
        "TimeZone = 'America/Los_Angeles'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "transform_null_equals = on",
        "default_transaction_isolation = 'serializable'",
    ):
        target.psql(f"ALTER DATABASE {target.name} SET {setting}")
    there = copy(str(full_file), target.url)
    assert copy(target.url, str(tmp_path / "back.db")) == there


def test_a_database_in_sql_ascii_is_refused(
    full_file: Path, postgres: Server, target: Database, tmp_path: Path
) -> None:
    postgres.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    url = target.url.replace(f"/{target.name}", "/ascii")
    for source, to in ((str(full_file), url), (url, str(tmp_path / "back.db"))):
        with pytest.raises(MigrationRefused, match="has the encoding SQL_ASCII"):
            copy(source, to)
    postgres.execute("DROP DATABASE ascii WITH (FORCE)")


def test_a_source_is_read_as_it_is_at_one_moment(
    full_file: Path, target: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another connection writes after the checks, and between two tables."""
    there = copy(str(full_file), target.url)
    read = Postgres.read
    wrote = 0

    def write_and_read(side: Postgres, *arguments: Any) -> Any:  # noqa: ANN401 - handed on
        nonlocal wrote
        wrote += 1
        target.psql(
            "INSERT INTO error_logs (module, error_type, error_message) VALUES ('m', 't', 'late');"
            "UPDATE config_overrides SET value = value || '!'; DELETE FROM review_logs"
        )
        return read(side, *arguments)

    monkeypatch.setattr(Postgres, "read", write_and_read)
    assert copy(target.url, str(tmp_path / "back.db")) == there
    assert wrote == len(metadata.tables)
    late = "SELECT count(*) FROM error_logs WHERE error_message = 'late'"
    assert target.psql(late) == f"{wrote}\n"


def test_rows_come_in_the_order_of_bytes_whatever_the_collation(
    full_file: Path, target: Database, tmp_path: Path
) -> None:
    copy(str(full_file), target.url)
    target.psql(
        'ALTER TABLE config_overrides ALTER key TYPE text COLLATE "und-x-icu";'
        "INSERT INTO config_overrides (key, value) VALUES ('a', ''), ('B', ''), ('\u00e4', '')"
    )
    keys = target.psql("SELECT string_agg(key, '' ORDER BY key) FROM config_overrides")
    assert keys.index("a") < keys.index("B")
    copied = copy(target.url, str(tmp_path / "back.db"))
    assert {table.table: table.rows for table in copied}["config_overrides"] > 3


def test_rows_come_in_the_order_of_bytes_whatever_the_locale_of_the_database(
    full_file: Path, postgres: Server, tmp_path: Path
) -> None:
    postgres.execute("CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'und'")
    database = Database(postgres, "icu")
    copy(str(full_file), database.url)
    database.psql("INSERT INTO config_overrides (key, value) VALUES ('a', ''), ('B', '')")
    copied = copy(database.url, str(tmp_path / "back.db"))
    assert {table.table: table.rows for table in copied}["config_overrides"] > 2
    postgres.drop_database(database)
