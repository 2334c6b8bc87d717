"""No update is lost: before a flush, overwritten values are compared with the database."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from project import HELPERS
from scenario import KINDS, Sessions, play
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import defer
from sqlalchemy.orm.exc import StaleDataError

from shortsdb.engine import StaleRowError, create_engine, session_factory
from shortsdb.models import Clip, ConfigOverride, DiscoveredVideo, PipelineRun, Short

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

COUNTING = HELPERS / "increment_worker.py"
NOON = datetime(2026, 5, 6, 12)  # noqa: DTZ001 - the models hold naive UTC


@pytest.fixture(autouse=True)
def _rows(url: str) -> None:
    """Put two runs, a Short of the first and an override into the database."""
    engine = create_engine(url)
    with session_factory(engine).begin() as session:
        runs = [PipelineRun(niche=n, cycle_start=NOON, cycle_end=NOON) for n in ("one", "two")]
        session.add_all(runs)
        session.flush()
        session.add(Short(pipeline_run_id=runs[0].id, title="title", duration_seconds=0.1))
        session.add(ConfigOverride(key="k", value="0"))
    engine.dispose()


def change(sessions: Sessions, sql: str) -> None:
    """Commit a change in another session."""
    with sessions.plain() as session:
        session.execute(text(sql))
        session.commit()


def the_short(session: Session) -> Short:
    return session.scalars(select(Short)).one()


def assert_refused(session: Session, table: str, key: tuple[object, ...], *columns: str) -> None:
    """A flush is refused for one row, and writes nothing."""
    with pytest.raises(StaleDataError) as caught:
        session.commit()
    assert isinstance(caught.value, StaleRowError)
    (row,) = caught.value.rows
    assert (row.table, row.primary_key, set(row.columns)) == (table, key, set(columns))
    for name in (table, repr(key[0]), *(() if row.gone else columns)):
        assert name in str(caught.value)
    session.rollback()


@KINDS
def test_a_change_of_the_same_column_is_refused(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            short = the_short(session)
            change(sessions, "UPDATE shorts SET title = 'theirs', status = 'review'")
            short.title = "mine"
            session.add(ConfigOverride(key="beside", value=""))
            assert_refused(session, "shorts", (1,), "title")
            assert the_short(session).title == "theirs"
            assert session.get(ConfigOverride, "beside") is None
            the_short(session).title = "mine"  # having read again
            session.commit()
            assert the_short(session).title == "mine"

    play(kind, url, scenario)


@KINDS
def test_after_a_refusal_the_lock_is_free(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            short = the_short(session)
            change(sessions, "UPDATE shorts SET title = 'theirs'")
            short.title = "mine"
            with pytest.raises(StaleRowError):
                session.flush()
            change(sessions, "UPDATE shorts SET title = 'theirs again'")

    play(kind, url, scenario, pragmas={"busy_timeout": 1})


@KINDS
def test_changes_of_different_columns_do_not_conflict(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            short = the_short(session)
            change(sessions, "UPDATE shorts SET status = 'review'")
            short.title = "mine"
            session.commit()
            session.refresh(short)
            assert (short.title, short.status) == ("mine", "review")

    play(kind, url, scenario)


@KINDS
def test_null_counts_as_a_value(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            short = the_short(session)
            assert short.description is None
            change(sessions, "UPDATE shorts SET description = 'theirs'")
            short.description = "mine"
            assert_refused(session, "shorts", (1,), "description")
            short = the_short(session)
            change(sessions, "UPDATE shorts SET description = NULL")
            short.description = "mine"
            assert_refused(session, "shorts", (1,), "description")

    play(kind, url, scenario)


@KINDS
def test_a_change_of_a_deleted_row_is_refused(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            short = the_short(session)
            change(sessions, "DELETE FROM shorts")
            short.title = "mine"
            assert_refused(session, "shorts", (1,), "title")

    play(kind, url, scenario)


@KINDS
def test_deleting_a_changed_row_is_refused(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            short = the_short(session)
            change(sessions, "UPDATE shorts SET status = 'uploaded'")
            session.delete(short)
            assert_refused(session, "shorts", (1,), "status")
            session.delete(the_short(session))
            session.commit()
            assert session.scalars(select(Short)).all() == []

    play(kind, url, scenario)


@KINDS
@pytest.mark.parametrize("by", ["reference", "collection"])
def test_a_changed_relationship_is_compared_by_its_foreign_key(
    url: str, kind: str, by: str
) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            one, two = session.scalars(select(PipelineRun).order_by(PipelineRun.id))
            session.add(PipelineRun(niche="three", cycle_start=NOON, cycle_end=NOON))
            session.commit()
            short = the_short(session)
            session.refresh(one, ["shorts"])
            session.refresh(two, ["shorts"])
            change(sessions, "UPDATE shorts SET pipeline_run_id = 3")
            if by == "reference":
                short.pipeline_run = two
            else:
                two.shorts.append(short)
            assert_refused(session, "shorts", (1,), "pipeline_run_id")

    play(kind, url, scenario)


@KINDS
def test_values_never_read_do_not_conflict(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            short = session.scalars(select(Short).options(defer(Short.title))).one()
            expired = session.get_one(PipelineRun, 1)
            session.expire(expired, ["niche"])
            change(sessions, "UPDATE shorts SET title = 'theirs'")
            change(sessions, "UPDATE pipeline_runs SET niche = 'theirs', retry_count = 7")
            short.title = "mine"
            expired.niche = "mine"
            expired.retry_count = PipelineRun.retry_count + 1
            assert_refused(session, "pipeline_runs", (1,), "retry_count")
            session.get_one(PipelineRun, 1)
            session.expire_all()
            expired.retry_count = PipelineRun.retry_count + 1
            short.title = "mine"
            session.commit()
            session.expire_all()
            assert (expired.retry_count, short.title) == (8, "mine")

    play(kind, url, scenario)


@KINDS
def test_a_merge_is_compared_with_the_values_it_loaded(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session, session.no_autoflush:
            session.merge(ConfigOverride(key="k", value="mine"))
            change(sessions, "UPDATE config_overrides SET value = 'theirs'")
            assert_refused(session, "config_overrides", ("k",), "value")

    play(kind, url, scenario)


@KINDS
def test_a_detached_row_is_compared_with_the_values_read_originally(url: str, kind: str) -> None:
    """Also in an explicit transaction, which has not read it."""

    def scenario(sessions: Sessions) -> None:
        for explicit in (False, True):
            with sessions.plain() as session:
                short = the_short(session)
                session.expunge(short)
            change(sessions, f"UPDATE shorts SET title = 'theirs {explicit}'")
            with sessions.plain() as session:
                if explicit:
                    session.begin()
                    session.get_one(PipelineRun, 1)
                session.add(short)
                short.title = "mine"
                assert_refused(session, "shorts", (1,), "title")

    play(kind, url, scenario)


@KINDS
def test_rows_kept_after_a_commit_are_compared(url: str, kind: str) -> None:
    """As async sessions do, whose rows do not expire; also if a later transaction is explicit."""

    def scenario(sessions: Sessions) -> None:
        for explicit in (False, True):
            with sessions.plain() as session:
                session.expire_on_commit = False
                short = the_short(session)
                session.commit()
                change(sessions, f"UPDATE shorts SET title = 'theirs {explicit}'")
                if explicit:
                    session.begin()
                short.title = "mine"
                assert_refused(session, "shorts", (1,), "title")

    play(kind, url, scenario)


@KINDS
def test_values_written_by_the_session_itself_do_not_conflict(url: str, kind: str) -> None:
    """This holds even if the database returns another form: an aware datetime, a rounded number."""

    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            session.expire_on_commit = False
            short = the_short(session)
            for number in range(3):
                short.uploaded_at = datetime.now(UTC) + timedelta(seconds=number)
                short.duration_seconds = 0.1 + number
                short.title = f"title {number}"
                session.commit()

    play(kind, url, scenario)


@KINDS
def test_an_explicit_transaction_never_conflicts(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session, session.begin():
            short = the_short(session)
            short.title = "mine"
            session.flush()
            short.title = "mine again"

    play(kind, url, scenario)


@KINDS
def test_many_rows_are_compared_in_few_statements(url: str, kind: str) -> None:
    statements: list[str] = []

    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            session.add_all(ConfigOverride(key=f"many {n:04}", value="") for n in range(1000))
            session.commit()
            rows = session.scalars(select(ConfigOverride).order_by(ConfigOverride.key)).all()
            change(sessions, "UPDATE config_overrides SET value = 'theirs' WHERE key = 'many 0777'")
            for row in rows:
                row.value = "mine"
            event.listen(
                sessions.engine, "before_cursor_execute", lambda *args: statements.append(args[2])
            )
            assert_refused(session, "config_overrides", ("many 0777",), "value")
            # 1001 rows in portions of 400, and one query for the value that differs.
            assert len([s for s in statements if s.startswith("SELECT")]) == 4
            assert not [s for s in statements if s.startswith("UPDATE")]

    play(kind, url, scenario)


@pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)
@KINDS
def test_a_writer_without_the_advisory_lock_is_detected(
    url: str, kind: str, postgres_writer: Engine
) -> None:
    """In an explicit transaction too, which has read before the other's commit."""

    def scenario(sessions: Sessions) -> None:
        for explicit in (False, True):
            with sessions.plain() as session:
                if explicit:
                    session.begin()
                short = the_short(session)
                with postgres_writer.begin() as connection:
                    connection.execute(text(f"UPDATE shorts SET title = 'theirs {explicit}'"))
                short.title = "mine"
                assert_refused(session, "shorts", (1,), "title")

    play(kind, url, scenario)


@pytest.fixture
def postgres_writer(url: str) -> Engine:
    """Return an engine as SQLAlchemy makes it."""
    from sqlalchemy import create_engine as plain_engine  # noqa: PLC0415 - two of one name
    from sqlalchemy.pool import NullPool  # noqa: PLC0415 - as above

    return plain_engine(url, poolclass=NullPool)


@pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)
@KINDS
def test_a_serialization_failure_in_a_flush_is_the_same_error(
    url: str, kind: str, postgres_writer: Engine
) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.plain() as session:
            short = the_short(session)
            with postgres_writer.begin() as connection:
                connection.execute(text("UPDATE shorts SET title = 'theirs'"))
            short.title = "mine"
            with pytest.raises(StaleRowError, match="another transaction has changed"):
                session.commit()

    play(kind, url, scenario, isolation_level="REPEATABLE READ")


@pytest.mark.parametrize("way", ["plain", "explicit"])
def test_processes_lose_no_increment(url: str, way: str) -> None:
    """Plain sessions get conflicts and retry; explicit ones never get any."""
    engine = create_engine(url)
    arguments = [sys.executable, str(COUNTING), url, f"shortsdb {way}", "1", "50"]
    with session_factory(engine).begin() as session:
        session.add(ConfigOverride(key="counter", value="0"))
    processes = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = []
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0
        outputs.append([int(number) for number in output.split()])
    committed, refused = (sum(column) for column in zip(*outputs, strict=True))
    assert committed + refused == 200
    assert way == "plain" or refused == 0
    with session_factory(engine, read_only=True)() as session:
        assert int(session.get_one(ConfigOverride, "counter").value) == committed
    engine.dispose()


def test_sessions_of_other_engines_are_not_affected(engine: Engine) -> None:
    from sqlalchemy.orm import Session as PlainSession  # noqa: PLC0415 - beside the type's import

    with PlainSession(engine) as session:
        short = the_short(session)
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("UPDATE shorts SET title = 'theirs'"))
        short.title = "mine"
        session.commit()
        assert session.scalar(select(func.count()).select_from(Clip)) == 0
        assert session.scalar(select(func.count()).select_from(DiscoveredVideo)) == 0


def test_after_a_refusal_in_a_savepoint_the_transaction_goes_on(url: str) -> None:
    engine = create_engine(url)
    factory = session_factory(engine)
    with factory.begin() as session:
        session.add(ConfigOverride(key="other", value="0"))
    with factory() as session:
        row = session.get_one(ConfigOverride, "k")
        with factory.begin() as meanwhile:
            meanwhile.get_one(ConfigOverride, "k").value = "1"
        with pytest.raises(StaleRowError), session.begin_nested():
            row.value = "2"
        session.get_one(ConfigOverride, "other").value = "3"
        session.commit()
    with factory() as session:
        assert session.scalars(select(ConfigOverride.value).order_by("key")).all() == ["1", "3"]
    engine.dispose()


@pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)
def test_a_refusal_that_no_write_has_raised_ends_with_its_transaction(url: str) -> None:
    engine = create_engine(url)
    factory = session_factory(engine)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # a transaction that is not explicit
        with factory(bind=connection) as session:
            run = session.get_one(PipelineRun, 1)
            with factory.begin() as meanwhile:
                meanwhile.get_one(PipelineRun, 1).niche = "theirs"
            run.niche, run.cycle_start = "mine", "no moment"  # type: ignore[assignment]
            with pytest.raises(StatementError, match="datetime"):
                session.commit()
            session.rollback()
        connection.execute(text("UPDATE config_overrides SET value = '1'"))
        connection.commit()
        assert connection.scalar(text("SELECT value FROM config_overrides")) == "1"
    engine.dispose()


def test_a_refusal_that_no_write_has_raised_ends_with_its_savepoint(url: str) -> None:
    engine = create_engine(url)
    factory = session_factory(engine)
    with factory() as session:
        run = session.get_one(PipelineRun, 1)
        with factory.begin() as meanwhile:
            meanwhile.get_one(PipelineRun, 1).niche = "theirs"
        with pytest.raises(StatementError, match="no moment"), session.begin_nested():
            run.niche, run.cycle_start = "mine", "no moment"  # type: ignore[assignment]
        session.execute(text("UPDATE config_overrides SET value = '1'"))
        session.commit()
    with factory() as session:
        assert session.scalars(select(ConfigOverride.value)).all() == ["1"]
    engine.dispose()
