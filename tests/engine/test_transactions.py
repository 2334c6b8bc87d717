"""Transactions in two phases, read-only ones, and those that an interruption or an error ends."""

from __future__ import annotations

import sqlite3
from asyncio import CancelledError
from typing import TYPE_CHECKING, ClassVar, Self

import pytest
from scenario import IMPATIENT
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from shortsdb.engine import ReadOnlyError, create_engine, session_factory
from shortsdb.engine.transactions import read_only_options
from shortsdb.models import ConfigOverride

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database
    from sqlalchemy import Engine

INSERT = "INSERT INTO config_overrides (key, value) VALUES ('k', 'v')"
ONE = text("SELECT 1")
ON_SQLITE = pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)


def keys(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(select(ConfigOverride.key)))


@ON_POSTGRESQL
def test_each_transaction_in_two_phases_takes_the_lock_first(url: str) -> None:
    engine = create_engine(url, pragmas=IMPATIENT)
    with engine.connect() as connection, engine.connect() as other:
        connection.execute(text(INSERT))
        connection.commit()
        for _ in range(2):
            transaction = connection.begin_twophase()
            connection.execute(ONE)
            with pytest.raises(OperationalError, match="lock timeout"):
                other.execute(text("DELETE FROM clips"))
            other.rollback()
            transaction.rollback()
    engine.dispose()


@ON_POSTGRESQL
def test_a_session_in_two_phases_takes_the_lock_when_it_writes(url: str) -> None:
    engine = create_engine(url, pragmas=IMPATIENT)
    with Session(engine, twophase=True) as session, engine.connect() as other:
        session.execute(ONE)
        other.execute(text("DELETE FROM clips"))
        other.rollback()
        session.execute(text(INSERT))
        with pytest.raises(OperationalError, match="lock timeout"):
            other.execute(text("DELETE FROM clips"))
    engine.dispose()


def test_a_transaction_in_two_phases_is_in_the_schema_of_its_engine(target: Database) -> None:
    engine = create_engine(target.url, schema="channel")
    with engine.connect() as connection:
        connection.begin_twophase()
        assert connection.scalar(text("SHOW search_path")) == "channel"
    engine.dispose()


@pytest.mark.parametrize("read_only", [False, True])
def test_an_invalidated_connection_can_be_used_again(url: str, *, read_only: bool) -> None:
    engine = create_engine(url)
    options = read_only_options(engine.dialect.name) if read_only else {}
    with engine.execution_options(**options).connect() as connection:
        connection.execute(ONE if read_only else text(INSERT))
        connection.invalidate()
        connection.rollback()
        assert connection.scalars(select(ConfigOverride.key)).all() == []
    engine.dispose()


@ON_SQLITE
def test_an_engine_with_options_twice_is_as_safe(url: str) -> None:
    engine = create_engine(url)
    twice = engine.execution_options(one=1).execution_options(two=2)
    with (
        session_factory(twice, read_only=True)() as session,
        pytest.raises(ReadOnlyError, match="cannot write: INSERT"),
    ):
        session.execute(text(INSERT))
    engine.dispose()


class InterruptedCursor(sqlite3.Cursor):
    """Raises after the first statement that makes its connection read-only."""

    left: ClassVar[list[type[BaseException]]] = [KeyboardInterrupt]

    def execute(self, sql: str, *arguments: object) -> Self:
        """Execute the statement, and then raise what is left to raise."""
        super().execute(sql, *arguments)  # type: ignore[arg-type] # as given
        if sql == "PRAGMA query_only = True" and self.left:
            raise self.left.pop()
        return self


class InterruptedConnection(sqlite3.Connection):
    """A connection with such cursors."""

    def cursor(self) -> sqlite3.Cursor:  # type: ignore[override] # as it is called
        """Return such a cursor."""
        return super().cursor(InterruptedCursor)


def test_after_an_interruption_a_connection_is_not_thought_to_be_writable(tmp_path: Path) -> None:
    engine = create_engine(
        tmp_path / "x.db",
        connect_args={"factory": InterruptedConnection},
        pool_size=1,
        max_overflow=0,
    )
    with (
        pytest.raises(KeyboardInterrupt),
        session_factory(engine, read_only=True)() as session,
    ):
        session.execute(ONE)
    assert InterruptedCursor.left == []
    with session_factory(engine).begin() as session:
        session.execute(text("CREATE TABLE t (a)"))
    engine.dispose()


@ON_SQLITE
def test_query_only_is_set_only_when_it_changes(url: str) -> None:
    engine = create_engine(url, pool_size=1, max_overflow=0)
    statements: list[str] = []
    raw = engine.raw_connection()
    raw.driver_connection.set_trace_callback(statements.append)  # type: ignore[union-attr]
    raw.close()
    for read_only in (False, True, False, False):
        with session_factory(engine, read_only=read_only)() as session:
            session.execute(text("SELECT 1"))
    assert [each for each in statements if each.startswith("PRAGMA")] == [
        "PRAGMA query_only = True",
        "PRAGMA query_only = False",
    ]
    engine.dispose()


@ON_SQLITE
def test_a_changed_setting_is_put_back_once(url: str) -> None:
    engine = create_engine(url, pool_size=1, max_overflow=0)
    statements: list[str] = []
    with engine.connect() as connection:
        connection.connection.driver_connection.set_trace_callback(statements.append)  # type: ignore[union-attr]
        connection.execute(text("PRAGMA synchronous = OFF"))
    for _ in range(3):
        engine.connect().close()
    assert statements.count("PRAGMA synchronous = FULL") == 1
    engine.dispose()


def test_a_read_only_transaction_begins_beside_a_writer(url: str) -> None:
    patient, impatient = create_engine(url), create_engine(url, pragmas=IMPATIENT)
    with session_factory(patient).begin() as writer:
        writer.add(ConfigOverride(key="k", value="v"))
        writer.flush()
        with session_factory(impatient, read_only=True).begin() as reader:
            assert reader.scalars(select(ConfigOverride.key)).all() == []
    patient.dispose()
    impatient.dispose()


def test_a_refused_commit_is_rolled_back_and_has_a_known_outcome(url: str) -> None:
    """The COMMIT checks the constraint."""
    reference = "BIGINT REFERENCES clips (id) DEFERRABLE INITIALLY DEFERRED"
    engine, other = create_engine(url), create_engine(url, pragmas=IMPATIENT)
    with engine.connect() as connection:
        connection.execute(text(f"CREATE TABLE t (clip_id {reference})"))
        connection.commit()
        connection.execute(text("INSERT INTO t VALUES (4711)"))
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
            connection.commit()
        connection.rollback()  # which SQLAlchemy demands
        with other.begin() as writer:
            writer.execute(text(INSERT))
        assert connection.scalar(text("SELECT count(*) FROM t")) == 0
        connection.execute(text("DELETE FROM config_overrides"))
        connection.commit()
        assert connection.scalar(text("SELECT count(*) FROM t")) == 0
    engine.dispose()
    other.dispose()


@pytest.mark.parametrize("error", [KeyboardInterrupt, CancelledError])
def test_an_interrupted_commit_stays_an_interruption(
    url: str, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupt(_: object) -> None:
        raise error

    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text(INSERT))
        with monkeypatch.context() as patch:
            patch.setattr(engine.dialect, "do_commit", interrupt)
            with pytest.raises(error):
                connection.commit()
    assert keys(engine) == []
    engine.dispose()
