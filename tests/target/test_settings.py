"""Environment variables: their defaults, what they accept, and what is refused."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from shortsdb import settings
from shortsdb.errors import OperationRefused


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SHORTSDB_"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    assert settings.database_url() is None
    # The file that README, alembic.ini and the Makefile name.
    assert settings.DEFAULT_URL == "sqlite:///shortsdb.db"
    assert settings.schema() is None
    assert settings.backup() is None
    assert settings.backup_keep() == 5
    assert not settings.must_exist()
    assert settings.log_format() == ""
    assert settings.correlation_id() is None
    assert settings.console_password() is None
    assert settings.lock_timeout() == 60
    assert settings.lock_timeout(1.5) == 1.5
    assert settings.table_lock_timeout() == 5
    assert settings.statement_timeout() == 300


def test_a_silent_host_is_given_up_after_documented_times() -> None:
    assert settings.CONNECTION_LIMITS == {
        "connect_timeout": 10,
        "tcp_user_timeout": 20_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }


@pytest.mark.parametrize(
    ("variable", "read", "value", "expected"),
    [
        ("URL", settings.database_url, "x.db", "x.db"),
        ("URL", settings.database_url, "", None),
        ("SCHEMA", settings.schema, "s", "s"),
        ("SCHEMA", settings.schema, "", None),
        ("BACKUP", settings.backup, "off", "off"),
        ("BACKUP", settings.backup, "", None),
        ("BACKUP_KEEP", settings.backup_keep, "", 5),
        ("BACKUP_KEEP", settings.backup_keep, "1", 1),
        ("BACKUP_KEEP", settings.backup_keep, "99999", 99_999),
        ("BACKUP_KEEP", settings.backup_keep, "30d", timedelta(days=30)),
        ("MUST_EXIST", settings.must_exist, "", False),
        ("MUST_EXIST", settings.must_exist, "YES", True),
        ("MUST_EXIST", settings.must_exist, "true", True),
        ("MUST_EXIST", settings.must_exist, "1", True),
        ("MUST_EXIST", settings.must_exist, "No", False),
        ("MUST_EXIST", settings.must_exist, "false", False),
        ("MUST_EXIST", settings.must_exist, "0", False),
        ("LOG", settings.log_format, "json", "json"),
        ("CORRELATION_ID", settings.correlation_id, "c", "c"),
        ("CORRELATION_ID", settings.correlation_id, "", None),
        ("CONSOLE_PASSWORD", settings.console_password, "", None),
        ("CONSOLE_PASSWORD", settings.console_password, "ключ", "ключ"),
        ("LOCK_TIMEOUT", settings.lock_timeout, "0", 0),
        ("LOCK_TIMEOUT", settings.lock_timeout, "", 60),
        ("LOCK_TIMEOUT", settings.table_lock_timeout, "0.5", 0.5),
        ("LOCK_TIMEOUT", settings.lock_timeout, "2147482.648", 2_147_482.648),
        ("STATEMENT_TIMEOUT", settings.statement_timeout, "0", 0),
        ("STATEMENT_TIMEOUT", settings.statement_timeout, "7", 7),
    ],
)
def test_values(
    monkeypatch: pytest.MonkeyPatch, variable: str, read: object, value: str, expected: object
) -> None:
    monkeypatch.setenv(f"SHORTSDB_{variable}", value)
    assert callable(read)
    assert read() == expected


@pytest.mark.parametrize(
    ("variable", "read", "values"),
    [
        ("BACKUP_KEEP", settings.backup_keep, ["0", "01", "-1", "100000", "1.5", "d", "1w", "1 "]),
        ("MUST_EXIST", settings.must_exist, ["2", "maybe", " yes"]),
        ("LOCK_TIMEOUT", settings.lock_timeout, ["-1", "a", "nan", "inf", "2147482.649", "1 s"]),
        ("STATEMENT_TIMEOUT", settings.statement_timeout, ["-0.1", "x"]),
    ],
)
def test_other_values_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, read: object, values: list[str]
) -> None:
    assert callable(read)
    for value in values:
        monkeypatch.setenv(f"SHORTSDB_{variable}", value)
        with pytest.raises(OperationRefused, match=f"SHORTSDB_{variable}.* {value!r}"):
            read()


def test_a_password_that_no_browser_sends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORTSDB_CONSOLE_PASSWORD", "a\udcff")
    with pytest.raises(OperationRefused, match="SHORTSDB_CONSOLE_PASSWORD is not valid UTF-8"):
        settings.console_password()


def test_an_option_precedes_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORTSDB_MUST_EXIST", "yes")
    assert settings.must_exist()
    assert not settings.must_exist(given=False)
    assert not settings.must_exist("no")
    monkeypatch.setenv("SHORTSDB_MUST_EXIST", "no")
    assert settings.must_exist(given=True)
    with pytest.raises(OperationRefused, match="is '', neither yes nor no"):
        settings.must_exist("")
