"""How URLs are parsed, which ones are refused, and how they are displayed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from shortsdb.settings import CONNECTION_LIMITS
from shortsdb.url import connect_args, display, file, in_memory, parse


@pytest.mark.parametrize("given", ["", ":memory:"])
def test_in_memory_by_path(given: str) -> None:
    url = parse(given)
    assert url == URL.create("sqlite", database=given)
    assert in_memory(url)


@pytest.mark.parametrize(
    "given",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_in_memory_by_url(given: str) -> None:
    url = parse(given)
    assert in_memory(url)
    assert file(url) is None


def test_a_file_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/of/somebody")
    for given in ("d.db", Path("d.db"), "sqlite:///d.db", make_url("sqlite:///x/../d.db")):
        url = parse(given)
        assert url == URL.create("sqlite", database=str(tmp_path / "d.db"))
        assert file(url) == tmp_path / "d.db"
        assert display(url) == str(tmp_path / "d.db")
        assert not in_memory(url)
    assert parse("sqlite:///~/d.db").database == "/home/of/somebody/d.db"
    assert parse("sqlite:////srv/user@host.db?timeout=5").query == {"timeout": "5"}
    for nobody in ("~nobody-at-all/d.db", "sqlite:///~nobody-at-all/d.db"):
        with pytest.raises(ArgumentError, match="there is no such user"):
            parse(nobody)


def test_the_file_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("real.db")
    url = parse(tmp_path / "link.db")
    assert url.database == str(tmp_path / "link.db")
    assert file(url) == tmp_path / "real.db"
    assert display(url) == str(tmp_path / "real.db")


def test_a_file_uri_stays_as_it_is() -> None:
    url = parse("sqlite:///file:///srv/a%20b.db?mode=ro&uri=true")
    assert url.database in {"file:///srv/a%20b.db", "file:///srv/a b.db"}  # SQLAlchemy 2.0, 2.1
    assert file(url) is None
    assert display(url) == "/srv/a b.db"
    url = URL.create("sqlite", database="file:///srv/a%20b.db", query={"uri": "true"})
    assert display(url) == "/srv/a b.db"
    assert parse("sqlite:///file:/srv/user@host.db?uri=true").query == {"uri": "true"}


@pytest.mark.parametrize(
    "given",
    [
        "sqlite://d.db",
        "sqlite://u@/d.db",
        "sqlite://:1/d.db",
        "sqlite:///u:pw@h/d.db",
        "sqlite:///d.db?pwd=x",
        "sqlite:///d.db?a=b:c@d",
        "sqlite:///file:u:pw@h?uri=true",
        make_url("sqlite:///d.db").set(database="u:pw@h"),
        make_url("sqlite:///d.db?token=x"),
        "sqlite:///d.db?my_Secret=x",
        "postgresql://u@pw@h/d",
        "postgresql://u:p@w@h/d",
        "postgresql://u:pw@h:port/d",
        "postgresql://h/d?password=x&password=y",
        "postgresql://u%3Apw@h/d",
        "postgresql://h/u:pw",
        "postgresql://h/pw%40d",
        "postgresql://h/host=d",
        "postgresql://h/d?user=u:pw",
        "postgresql://h/d?user=u%40h",
        "postgresql://h/d?dbname=u:pw",
        "postgresql://h/d?dbname=user=u",
        "postgresql://h/d?host=pw%40h",
        "postgresql://h/d?host=a=b",
        "postgresql://p%20w/d",
        "://",
    ],
)
def test_malformed(given: str | URL) -> None:
    with pytest.raises(ArgumentError, match="the database URL is malformed") as refused:
        parse(given)
    # SQLAlchemy's own error, which repeats the URL, is not shown beside it.
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_long_name_before_the_colon_is_not_repeated_in_full() -> None:
    with pytest.raises(ArgumentError, match=r"names x.*x, which is not supported") as refused:
        parse(f"{'x' * 5000}://h/d")
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "parameter",
    ["sslpassword", "SSLPASSWD", "passphrase", "pwd", "secret", "oauth_token", "scram_client_key"],
)
def test_a_secret_parameter(parameter: str) -> None:
    with pytest.raises(ArgumentError, match="has a secret parameter") as refused:
        parse(f"postgresql://h/d?{parameter}=x1y2")
    assert "x1y2" not in str(refused.value)


def test_a_password_parameter_becomes_the_password_of_the_url() -> None:
    url = parse("postgresql://u@h/d?password=x1y2&connect_timeout=1")
    assert url.password == "x1y2"  # noqa: S105 - in a test
    assert url.query == {"connect_timeout": "1"}
    assert "x1y2" not in repr(url) + display(url)


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://u:pw@10.0.0.1:5432/d",
        "postgresql://u:pw@[::1]:5432/d",
        "postgresql://u:pw@[fe80::1%eth0]/d",
        "postgresql://u%40corp:pw@h-1.example_2/d",
        "postgresql+psycopg:///d?host=/run/postgresql",
        "postgresql+psycopg_async://u:p%40w@a,b/d",
        "postgresql://h/d?host=a:1&host=b:2",
        "postgresql:///?service=shorts",
        make_url("postgresql://u:p%40w@h/d"),
    ],
)
def test_well_formed(given: str | URL) -> None:
    assert parse(given) == make_url(given)


def test_displayed_urls_hide_secrets() -> None:
    url = make_url("postgresql://u:pw@h/d?host=a&hostaddr=b&port=1&dbname=c&service=s&options=x")
    shown = display(url)
    assert shown == ("postgresql://u:***@h/d?dbname=c&host=a&hostaddr=b&port=1&service=s"), shown


@pytest.mark.parametrize(
    ("given", "threshold"), [("", None), ("?prepare_threshold=0", 0), ("?prepare_threshold=5", 5)]
)
def test_arguments_for_the_driver(given: str, threshold: int | None) -> None:
    assert connect_args(make_url(f"postgresql://h/d{given}")) == {
        **CONNECTION_LIMITS,
        "client_encoding": "utf8",
        "prepare_threshold": threshold,
    }
    assert connect_args(make_url(f"sqlite:///d.db{given}")) == {}


@pytest.mark.parametrize("given", ["x", "-1", "1" * 10, "1&prepare_threshold=2"])
def test_a_threshold_that_is_no_number_is_refused(given: str) -> None:
    with pytest.raises(ArgumentError, match="prepare_threshold in the database URL is not a num"):
        parse(f"postgresql://h/d?prepare_threshold={given}&x=1")
