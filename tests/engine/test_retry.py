"""run_transaction: which errors are repeated, how often, and which are not."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError

from shortsdb.engine import (
    OutcomeUnknownError,
    StaleRowError,
    async_session_factory,
    create_async_engine,
    create_engine,
    run_transaction,
    run_transaction_async,
    session_factory,
)
from shortsdb.engine import retry as retry_module
from shortsdb.models import ConfigOverride, Short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

ON_POSTGRESQL = pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture
def other(url: str) -> Iterator[Engine]:
    """Return another engine on the same database, with a row there."""
    engine = create_engine(url)
    with session_factory(engine).begin() as session:
        session.add(ConfigOverride(key="k", value="0"))
    yield engine
    engine.dispose()


def run(
    kind: str,
    url: str,
    work: Callable[[Session], Any],
    listen: Callable[[Engine], None] = lambda _: None,
    **options: Any,  # noqa: ANN401 - run_transaction's
) -> Any:  # noqa: ANN401 - what work returns
    """Run work on the sync session of either kind of transaction."""
    if kind == "sync":
        engine = create_engine(url)
        listen(engine)
        try:
            return run_transaction(session_factory(engine), work, **options)
        finally:
            engine.dispose()

    async def main() -> Any:  # noqa: ANN401 - as above
        engine = create_async_engine(url)
        listen(engine.sync_engine)
        try:
            return await run_transaction_async(
                async_session_factory(engine), lambda session: session.run_sync(work), **options
            )
        finally:
            await engine.dispose()

    return asyncio.run(main())


def values(engine: Engine) -> list[str]:
    with session_factory(engine, read_only=True)() as session:
        return list(session.scalars(select(ConfigOverride.value)))


def terminate(other: Engine, pid: int) -> None:
    with other.connect() as connection:
        assert connection.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def backend(connection: Connection) -> int:
    return int(connection.connection.driver_connection.info.backend_pid)  # type: ignore[union-attr]


@KINDS
def test_work_is_committed_and_its_result_returned(url: str, other: Engine, kind: str) -> None:
    def work(session: Session) -> str:
        row = session.get_one(ConfigOverride, "k")
        row.value = "1"
        return row.value

    assert run(kind, url, work) == "1"
    assert values(other) == ["1"]


@KINDS
def test_conflicts_are_repeated_a_bounded_number_of_times(
    url: str, other: Engine, kind: str
) -> None:
    done: list[int] = []

    def work(session: Session) -> None:
        session.get_one(ConfigOverride, "k").value = str(len(done))
        session.flush()
        done.append(1)
        if len(done) < 3:
            raise StaleRowError

    run(kind, url, work)
    assert values(other) == ["2"]
    done.clear()
    with pytest.raises(StaleRowError):
        run(kind, url, work, attempts=2)
    assert len(done) == 2
    assert values(other) == ["2"]
    with pytest.raises(ValueError, match="attempts is 0: it must be at least 1"):
        run(kind, url, work, attempts=0)


@KINDS
def test_other_errors_are_not_repeated(url: str, other: Engine, kind: str) -> None:
    done: list[int] = []

    def work(session: Session) -> None:
        done.append(1)
        session.add(Short(pipeline_run_id=77))

    with pytest.raises(IntegrityError):
        run(kind, url, work)
    assert len(done) == 1
    assert values(other) == ["0"]


@ON_POSTGRESQL
@KINDS
def test_a_connection_lost_before_the_commit_is_repeated(
    url: str, other: Engine, kind: str
) -> None:
    done: list[int] = []

    def work(session: Session) -> None:
        session.get_one(ConfigOverride, "k").value = "1"
        session.flush()
        done.append(1)
        if len(done) == 1:
            terminate(other, backend(session.connection()))
            session.execute(text("SELECT 1"))

    run(kind, url, work)
    assert len(done) == 2
    assert values(other) == ["1"]


@ON_POSTGRESQL
@pytest.mark.parametrize("state", ["40001", "40P01"])
@KINDS
def test_conflicts_reported_by_the_server_are_repeated(
    url: str, other: Engine, kind: str, state: str
) -> None:
    done: list[int] = []

    def work(session: Session) -> None:
        session.get_one(ConfigOverride, "k").value = "1"
        done.append(1)
        if len(done) == 1:
            session.execute(text(f"DO $$BEGIN RAISE SQLSTATE '{state}'; END$$"))

    run(kind, url, work)
    assert len(done) == 2
    assert values(other) == ["1"]


@ON_POSTGRESQL
@KINDS
def test_a_connection_lost_in_the_commit_is_not_repeated(
    url: str, other: Engine, kind: str
) -> None:
    done: list[int] = []

    def work(session: Session) -> None:
        session.add(ConfigOverride(key=f"done {len(done)}", value="1"))
        done.append(1)

    def lose(engine: Engine) -> None:
        event.listen(engine, "commit", lambda connection: terminate(other, backend(connection)))

    with pytest.raises(OutcomeUnknownError, match="may or may not be committed"):
        run(kind, url, work, listen=lose)
    assert len(done) == 1
    assert values(other) == ["0"]


@ON_POSTGRESQL
def test_a_plain_session_that_has_written_reports_an_unknown_outcome(
    url: str, other: Engine
) -> None:
    engine = create_engine(url)
    event.listen(engine, "commit", lambda connection: terminate(other, backend(connection)))
    with session_factory(engine)() as session:
        session.add(ConfigOverride(key="new", value=""))
        with pytest.raises(OutcomeUnknownError):
            session.commit()
        session.rollback()
        session.get_one(ConfigOverride, "k")
        with pytest.raises(DBAPIError):  # nothing was written: there is nothing not to know
            session.commit()
    engine.dispose()


def test_the_pauses_are_random_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = [retry_module._pause_seconds(attempt) for attempt in range(1, 40)]  # noqa: SLF001 - nothing else shows it
    assert len(set(pauses)) > 1
    assert all(0 <= pause <= 2 for pause in pauses)
    monkeypatch.setattr("random.uniform", lambda *limits: limits)
    limits: list[object] = [retry_module._pause_seconds(attempt) for attempt in (1, 2, 3, 6)]  # noqa: SLF001 - as above
    assert limits == [(0, 0.1), (0, 0.2), (0, 0.4), (0, 2)]


@KINDS
def test_five_attempts_are_made_with_a_pause_after_each(
    url: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def pause(attempt: int) -> float:
        done.append(f"pause {attempt}")
        return 0

    def work(_: Session) -> None:
        done.append("work")
        raise StaleRowError

    monkeypatch.setattr(retry_module, "_pause_seconds", pause)
    with pytest.raises(StaleRowError):
        run(kind, url, work)
    pauses = [each for attempt in range(1, 5) for each in ("work", f"pause {attempt}")]
    assert done == [*pauses, "work"]


def test_the_event_loop_goes_on_in_a_pause(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    awaited: list[float] = []

    async def pause(seconds: float) -> None:
        awaited.append(seconds)

    def work(_: Session) -> None:
        raise StaleRowError

    monkeypatch.setattr("asyncio.sleep", pause)
    with pytest.raises(StaleRowError):
        run("async", url, work, attempts=3)
    assert len(awaited) == 2


class ServerError(Exception):
    """An error as psycopg raises it."""

    def __init__(self, sqlstate: str | None) -> None:
        """Take the SQLSTATE, None if the server has sent none."""
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (StaleDataError(), True),
        (StaleRowError(), True),
        (DBAPIError("SELECT 1", None, ServerError("40001")), True),
        (DBAPIError(None, None, ServerError("40P01")), True),
        (DBAPIError("SELECT 1", None, ServerError("57P01"), connection_invalidated=True), True),
        (DBAPIError(None, None, ServerError("57P01"), connection_invalidated=True), False),
        (OperationalError(None, None, ServerError(None)), True),
        (OperationalError(None, None, ServerError("57P01")), False),
        (OperationalError("SELECT 1", None, sqlite3.OperationalError("locked")), False),
        (DBAPIError(None, None, ServerError(None)), False),
    ],
)
def test_which_errors_are_repeated(
    error: StaleDataError | DBAPIError,
    repeated: bool,  # noqa: FBT001 - what is expected
) -> None:
    assert retry_module._may_be_repeated(error) is repeated  # noqa: SLF001 - one by one


def test_one_attempt_is_enough_and_none_is_refused(tmp_path: Path) -> None:
    engine = create_engine(tmp_path / "x.db")
    sessions = session_factory(engine)
    assert run_transaction(sessions, lambda session: session.scalar(select(1)), attempts=1) == 1
    with pytest.raises(ValueError, match="attempts is 0: it must be at least 1"):
        run_transaction(sessions, lambda session: session.scalar(select(1)), attempts=0)
    engine.dispose()
