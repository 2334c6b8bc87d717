"""What a flush compares, on which connection, and that it leaves neither lock nor state behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scenario import IMPATIENT
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.orm import Session

from shortsdb.engine import StaleRowError, create_engine, session_factory
from shortsdb.models import Analytics, ConfigOverride, ErrorLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from project import NewUrl
    from sqlalchemy import Engine

ON_POSTGRESQL = pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)
THEIRS = (
    "UPDATE config_overrides SET value = 'theirs'",
    "UPDATE error_logs SET stack_trace = 'theirs'",
)


def engine_with_rows(url: str) -> Engine:
    engine = create_engine(url)
    with session_factory(engine).begin() as session:
        session.add_all(ConfigOverride(key=key, value="0") for key in "ab")
        session.add(ErrorLog(id=1, module="m", error_type="T", error_message="e", stack_trace="s"))
    return engine


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Return our engine on a database with two overrides and an error."""
    engine = engine_with_rows(url)
    yield engine
    engine.dispose()


@pytest.fixture
def other(url: str) -> Iterator[Engine]:
    """Return another engine on the same database, which does not wait for a lock."""
    other = create_engine(url, pragmas=IMPATIENT)
    yield other
    other.dispose()


def change(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_a_number_that_was_given_as_text_is_no_conflict(engine: Engine) -> None:
    given: Any = "0.50"
    with session_factory(engine)() as session:
        snapshot = Analytics(youtube_video_id="y", click_through_rate=given)
        session.add(snapshot)
        session.flush()
        snapshot.click_through_rate = 0.75
        session.commit()
        assert snapshot.click_through_rate == 0.75


@ON_POSTGRESQL
def test_a_conflict_of_new_rows_alone_is_named_as_one(engine: Engine) -> None:
    change(
        engine,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE SQLSTATE '40001'; END$$",
        "CREATE TRIGGER refuse BEFORE INSERT ON config_overrides EXECUTE FUNCTION refuse()",
    )
    with session_factory(engine)() as session:
        session.add(ConfigOverride(key="new", value=""))
        with pytest.raises(StaleRowError, match="another transaction has changed the same rows"):
            session.flush()


def test_all_rows_of_all_classes_are_refused_together_and_the_lock_is_free(
    engine: Engine, other: Engine
) -> None:
    with session_factory(engine)() as session:
        overrides = session.scalars(select(ConfigOverride)).all()
        error = session.get_one(ErrorLog, 1)
        change(other, *THEIRS)
        for override in overrides:
            override.value = "mine"
        error.stack_trace = "mine"
        with pytest.raises(StaleRowError) as caught:
            session.flush()
        change(other, *THEIRS)
    assert {(row.table, row.primary_key, row.columns, row.gone) for row in caught.value.rows} == {
        ("config_overrides", ("a",), ("value",), False),
        ("config_overrides", ("b",), ("value",), False),
        ("error_logs", (1,), ("stack_trace",), False),
    }


def test_a_flush_that_overwrites_nothing_takes_no_lock(engine: Engine, other: Engine) -> None:
    with session_factory(engine)() as session:
        session.get_one(ConfigOverride, "a").value = "0"
        session.flush()
        change(other, *THEIRS)


def test_a_refusal_of_a_flush_that_wrote_nothing_ends_with_it(
    engine: Engine, other: Engine
) -> None:
    def take_back(_mapper: object, _connection: object, override: ConfigOverride) -> None:
        override.value = "0"

    event.listen(ConfigOverride, "before_update", take_back)
    try:
        with session_factory(engine)() as session:
            override = session.get_one(ConfigOverride, "a")
            change(other, *THEIRS)
            override.value = "mine"
            session.flush()
            session.execute(text("DELETE FROM error_logs"))
            session.commit()
            assert override.value == "theirs"
    finally:
        event.remove(ConfigOverride, "before_update", take_back)


def test_each_class_is_compared_on_its_own_engine(new_url: NewUrl) -> None:
    one, two = engine_with_rows(new_url()), engine_with_rows(new_url())
    with Session(binds={ConfigOverride: one, ErrorLog: two}) as session:
        override, error = session.get_one(ConfigOverride, "a"), session.get_one(ErrorLog, 1)
        change(two, *THEIRS)
        override.value = error.stack_trace = "mine"
        with pytest.raises(StaleRowError) as caught:
            session.flush()
    assert [row.table for row in caught.value.rows] == ["error_logs"]
    one.dispose()
    two.dispose()


@ON_POSTGRESQL
@pytest.mark.usefixtures("engine")
def test_a_conflict_outside_a_flush_is_the_error_of_the_server(url: str, other: Engine) -> None:
    """Also after a flush in the same transaction, and one that failed in a savepoint."""
    engine = create_engine(url, isolation_level="REPEATABLE READ")
    with session_factory(engine)() as session:
        assert session.scalars(select(ConfigOverride.value)).all() == ["0", "0"]
        change(other, *THEIRS)
        session.add(ConfigOverride(key="new", value=""))
        session.flush()
        with pytest.raises(StatementError, match="no moment"), session.begin_nested():
            session.add(ConfigOverride(key="no", value="", updated_at="no moment"))
        with pytest.raises(OperationalError, match="could not serialize access"):
            session.execute(text("UPDATE config_overrides SET value = 'mine'"))
    engine.dispose()
