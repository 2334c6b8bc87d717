"""What an operation gives its records, and what is logged of its errors."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy.exc import OperationalError

from shortsdb.log import correlation_id, get_logger, logged, operation, quiet

IN_USE = "database is locked\nSELECT 's3cret'"


def ids(caplog: pytest.LogCaptureFixture) -> list[object]:
    return [getattr(record, "correlation_id", "none at all") for record in caplog.records]


def test_records_of_libraries_have_the_id_and_those_of_others_do_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with operation():
        libraries = ("alembic", "sqlalchemy.engine.x", "aiosqlite", "psycopg.pool", "shortsdb.pool")
        for name in (*libraries, "mine", "mine.alembic"):
            logging.getLogger(name).warning("said")
        assert ids(caplog) == [*[correlation_id()] * 5, *["none at all"] * 2]
    logging.getLogger("alembic").warning("said")
    assert ids(caplog)[-1] is None


def test_operations_prepare_the_libraries_once() -> None:
    with operation():
        factory = logging.getLogRecordFactory()
    with operation():
        assert logging.getLogRecordFactory() is factory


def test_a_nested_operation_has_the_id_of_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert correlation_id() is None
    with operation():
        outer = correlation_id()
        assert outer
        monkeypatch.setenv("SHORTSDB_CORRELATION_ID", "another")
        with operation():
            assert correlation_id() == outer
        assert correlation_id() == outer
    assert correlation_id() is None
    with pytest.raises(KeyError, match="another"), operation():
        raise KeyError(correlation_id())
    assert correlation_id() is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no\nuse"), "ValueError: no"),
        (
            OperationalError("INSERT ?", ("s3cret",), RuntimeError(IN_USE)),
            "RuntimeError: database is locked",
        ),
    ],
)
def test_an_error_is_logged_in_one_line_and_raised(
    caplog: pytest.LogCaptureFixture, error: Exception, reason: str
) -> None:
    @logged
    def work(number: int, *, more: int = 0) -> int:
        """Do it."""
        get_logger(__name__).warning("%d", number)
        if more:
            raise error
        return number

    assert (work(3), work.__name__, work.__doc__) == (3, "work", "Do it.")
    with pytest.raises(type(error)) as raised:
        work(4, more=1)
    assert raised.value is error
    assert caplog.messages == ["3", "4", f"work failed: {reason}"]
    first, second, third = ids(caplog)
    assert first != second == third
    assert caplog.records[-1].exc_info is None


def test_arguments_by_name_and_numbers_are_left_as_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = get_logger("shortsdb.test")
    log.warning("%(what)s", {"what": "named"})
    log.warning("%d of %.1f: %s", 1, 2.5, "a\nb")
    assert caplog.messages == ["named", "1 of 2.5: a\\nb"]


def test_a_logger_is_quiet_in_the_block() -> None:
    log = logging.getLogger("shortsdb.test.quiet")
    log.setLevel(logging.DEBUG)
    with pytest.raises(KeyError, match=str(logging.ERROR)), quiet(log.name, logging.ERROR):
        raise KeyError(log.level)
    assert log.level == logging.DEBUG
