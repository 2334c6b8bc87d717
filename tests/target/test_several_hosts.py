"""Several hosts in one URL, as libpq and SQLAlchemy write them, and how long a silent one holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import ArgumentError

from shortsdb import url as urls
from shortsdb.engine import create_engine
from shortsdb.migration import MigrationRefused, create_migration_engine, read_status
from shortsdb.settings import CONNECTION_LIMITS
from shortsdb.target import Target

if TYPE_CHECKING:
    from sqlalchemy import URL

FORMS = [
    "postgresql+psycopg://u:s3cret@a:1,b:2/d",
    "postgresql+psycopg://u:s3cret@/d?host=a:1&host=b:2",
    "postgresql+psycopg://u:s3cret@/d?host=a,b&port=1,2",
]


def connect_arguments(url: URL) -> dict[str, Any]:
    dialect: Any = url.get_dialect()()
    arguments: dict[str, Any] = dialect.create_connect_args(url)[1]
    return arguments


@pytest.mark.parametrize("given", FORMS)
def test_each_form_is_the_same_hosts_and_names_them_once(given: str) -> None:
    url = urls.parse(f"{given}{'&' if '?' in given else '?'}target_session_attrs=read-write")
    arguments = connect_arguments(url)
    assert (arguments["host"], arguments["port"]) == ("a,b", "1,2")
    assert arguments["target_session_attrs"] == "read-write"
    assert url.password == "s3cret"  # noqa: S105 - made up
    assert urls.display(url).partition("://")[2] == "u:***@a:1,b:2/d"


def test_a_host_without_a_port_has_the_default_one() -> None:
    url = urls.parse("postgresql+psycopg://a,b:2/d")
    arguments = connect_arguments(url)
    assert (arguments["host"], arguments["port"]) == ("a,b", ",2")
    assert urls.display(url) == "postgresql+psycopg://a,b:2/d"


def test_hosts_of_a_parameter_are_kept() -> None:
    url = urls.parse("postgresql+psycopg://a:1,b:2/d?host=c:3")
    assert url.query["host"] == ("c:3", "a:1", "b:2")


@pytest.mark.parametrize("hosts", ["/one,/other", "host,/other"])
def test_folders_of_sockets_are_shown_as_parameters(hosts: str) -> None:
    url = urls.parse(f"postgresql+psycopg://u:s3cret@/d?host={hosts}&port=1,2")
    quoted = hosts.replace("/", "%2F").replace(",", "%2C")
    assert urls.display(url) == f"postgresql+psycopg://u:***@/d?host={quoted}&port=1%2C2"


@pytest.mark.parametrize(
    "given",
    ["u:a,b/d", "u:1,2@a:1,b:x/d", "u:s3,cret@a:1,b:2/d", "u:s3@cret:1,b:2/d@h/x", "a:1,b:2,/d"],
)
def test_what_may_be_a_password_is_refused(given: str) -> None:
    with pytest.raises(ArgumentError, match="malformed") as refused:
        urls.parse(f"postgresql://{given}")
    assert "s3" not in str(refused.value)


@pytest.mark.parametrize("make", [create_engine, create_migration_engine])
def test_a_silent_host_is_given_up(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401 - one of two
    """Unless the URL says something else."""
    given: dict[str, object] = {}

    def connect(*_: object, **arguments: object) -> None:
        given.update(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("psycopg.connect", connect)
    monkeypatch.setattr("psycopg.Connection.connect", connect)
    url = "postgresql+psycopg://h/d?connect_timeout=3&keepalives_count=9"
    engine = (
        create_engine(url)
        if make is create_engine
        else create_migration_engine(Target.parse(url), changes=False)
    )
    with pytest.raises(KeyboardInterrupt):
        engine.connect()
    assert {name: int(str(given[name])) for name in CONNECTION_LIMITS} == {
        **CONNECTION_LIMITS,
        "connect_timeout": 3,
        "keepalives_count": 9,
    }


def test_a_refusal_names_the_hosts_and_says_why_for_each() -> None:
    target = Target.parse("postgresql://u@127.0.0.1:1,127.0.0.1:2/d")
    with pytest.raises(MigrationRefused) as refused:
        read_status(target, None)
    message = (
        "postgresql+psycopg://u@127.0.0.1:1,127.0.0.1:2/d: no host could be used (127.0.0.1:1: "
    )
    assert str(refused.value).startswith(message)
    assert "; 127.0.0.1:2: " in str(refused.value)
    assert str(refused.value).count("127.0.0.1") == 4
