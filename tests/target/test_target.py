"""A plain SQLite file is found without SQLAlchemy, and is the one that SQLAlchemy would open."""

from __future__ import annotations

import pytest

from shortsdb import url as urls
from shortsdb.errors import OperationRefused
from shortsdb.target import Target, _plain_path

_PLAIN = ["a.db", "./a b.db", "../x/a.db", "~/a.db", "/srv/a%41.db"]
_PLAIN_URLS = [
    "sqlite:///a.db",
    "sqlite:////srv/../a.db",
    "sqlite+aiosqlite:///a b.db",
    "sqlite+pysqlite:///./a.db",
]


@pytest.mark.parametrize("given", [*_PLAIN, *_PLAIN_URLS])
def test_the_target_file_is_the_one_that_sqlalchemy_opens(given: str) -> None:
    assert _plain_path(given) is not None
    target, url = Target.parse(given), urls.parse(given)
    assert target.file == urls.file(url)
    assert target.name == urls.display(url)
    assert target.url.database == url.database


@pytest.mark.parametrize(
    "given",
    [
        "",
        ":memory:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a%41.db",
        "sqlite:///a.db?timeout=3",
        "sqlite:///a.db?",
        "sqlite:///~/a.db",
        "sqlite:///file:a.db?uri=true",
        "postgresql+psycopg://u:p@h/d",
    ],
)
def test_ambiguous_urls_are_parsed_by_sqlalchemy(given: str) -> None:
    assert _plain_path(given) is None


@pytest.mark.parametrize("given", ["", ":memory:", "sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(given: str) -> None:
    with pytest.raises(OperationRefused, match="gone when the command ends"):
        Target.parse(given).refuse_in_memory()


def test_a_link_is_resolved_to_its_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("links")
    (folder / "real.db").touch()
    (folder / "link.db").symlink_to("real.db")
    target = Target.parse(str(folder / "link.db"))
    assert target.file == folder / "real.db"
    assert target.name == str(folder / "real.db")
    assert target.url == urls.parse(str(folder / "link.db"))


def test_a_password_is_not_repeated() -> None:
    for given in ("pass:word@x", "postgresql+psycopg://u:s3@cret@h/d"):
        with pytest.raises(OperationRefused) as refusal:
            Target.parse(given)
        assert "s3" not in str(refusal.value)
        assert "word" not in str(refusal.value).replace("PASSWORD", "").replace("password", "")


def test_a_postgresql_database_is_named_with_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "postgresql://u:p@h/d"
    plain = Target.parse(given)
    assert (plain.schema, plain.file) == (None, None)
    assert plain.url.drivername == "postgresql+psycopg"
    monkeypatch.setenv("SHORTSDB_SCHEMA", "of_the_environment")
    assert Target.parse(given).schema == "of_the_environment"
    channel = Target.parse(given, "channel")
    assert channel.schema == "channel"
    assert str(channel) == f"{plain} (schema channel)"
    assert channel.url == plain.url
    channel.refuse_in_memory()


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("sqlite+aiosqlite:///a.db?timeout=3", "sqlite"),
        ("postgresql+psycopg_async://h/d", "postgresql+psycopg"),
        ("postgresql://h/d", "postgresql+psycopg"),
    ],
)
def test_a_migration_uses_the_sync_driver(given: str, driver: str) -> None:
    assert Target.parse(given).url.drivername == driver


def test_a_sqlite_database_has_no_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("a.db", "sqlite:///a.db?timeout=3", "sqlite://", ":memory:"):
        with pytest.raises(OperationRefused, match="which has no schemas"):
            Target.parse(given, "channel")
    monkeypatch.setenv("SHORTSDB_SCHEMA", "channel")
    for given in ("a.db", "sqlite:///a.db?timeout=3", "sqlite://"):
        assert Target.parse(given).schema is None


@pytest.mark.parametrize(
    "schema",
    ["", "$user", "information_schema", "pg_catalog", "a\0b", "a\udcff", "x" * 64, "ä" * 32],
)
def test_a_name_that_is_not_a_schema_of_an_application_is_refused(schema: str) -> None:
    with pytest.raises(OperationRefused, match="cannot be the schema of a channel"):
        Target.parse("postgresql://h/d").in_schema(schema)


@pytest.mark.parametrize("schema", ["x", "x" * 63, "ä" * 31, "my pg_"])
def test_other_names_are_schemas(schema: str) -> None:
    assert Target.parse("postgresql://h/d", schema).schema == schema


def test_a_uri_of_a_file_is_refused() -> None:
    with pytest.raises(OperationRefused, match="a file: URI cannot be migrated"):
        Target.parse("sqlite:///file:a.db?uri=true")
    in_memory = Target.parse("sqlite:///file:x?mode=memory&uri=true")
    with pytest.raises(OperationRefused, match="gone when the command ends"):
        in_memory.refuse_in_memory()
