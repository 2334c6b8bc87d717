"""Connections without sessions: Core, raw, autocommit, settings, closed by the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scenario import IMPATIENT, KINDS, Sessions, play
from sqlalchemy import event, inspect, select, text
from sqlalchemy.exc import OperationalError

from shortsdb.engine import ReadOnlyError, create_engine
from shortsdb.engine.transactions import READ_ONLY_OPTIONS
from shortsdb.models import ConfigOverride

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

INSERT = "INSERT INTO config_overrides (key, value) VALUES ('k', 'v')"
ON_SQLITE = pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)


def keys(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(select(ConfigOverride.key)))


@KINDS
def test_a_rollback_of_a_raw_connection_undoes_what_it_wrote(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        raw = sessions.engine.raw_connection()
        raw.cursor().execute(INSERT)
        raw.rollback()
        assert keys(sessions.engine) == []
        raw.cursor().execute(INSERT)
        raw.close()  # so does giving it back
        assert keys(sessions.engine) == []
        raw = sessions.engine.raw_connection()
        raw.cursor().execute(INSERT)
        raw.commit()
        raw.close()
        assert keys(sessions.engine) == ["k"]

    play(kind, url, scenario)


@ON_SQLITE
@KINDS
def test_vacuum_and_attach_on_a_plain_connection(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.engine.connect() as connection:
            connection.execute(text("VACUUM"))
            connection.execute(text("ATTACH ':memory:' AS other"))
            connection.execute(text("DETACH other"))

    play(kind, url, scenario)


@ON_SQLITE
@KINDS
def test_a_changed_setting_lasts_until_the_connection_is_returned(url: str, kind: str) -> None:
    def setting(connection: Connection) -> object:
        return connection.scalar(text("PRAGMA foreign_keys"))

    def scenario(sessions: Sessions) -> None:
        with sessions.engine.connect() as connection:
            connection.execute(text("PRAGMA foreign_keys = OFF"))
            connection.commit()
            assert setting(connection) == 0
            connection.execute(text("INSERT INTO shorts (pipeline_run_id) VALUES (77)"))
            connection.commit()
        with sessions.engine.connect() as connection:
            assert setting(connection) == 1

    play(kind, url, scenario, pool_size=1, max_overflow=0)


@KINDS
def test_ddl_is_part_of_the_transaction(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.engine.connect() as connection:
            connection.execute(text("CREATE TABLE made (x INTEGER)"))
            connection.execute(text(INSERT))
            connection.rollback()
        assert not inspect(sessions.engine).has_table("made")
        assert keys(sessions.engine) == []

    play(kind, url, scenario)


@KINDS
def test_autocommit_takes_no_lock(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.engine.connect().execution_options(
            isolation_level="AUTOCOMMIT"
        ) as connection:
            connection.execute(text(INSERT))
            with sessions.engine.begin() as other:
                other.execute(text("DELETE FROM config_overrides"))
        assert keys(sessions.engine) == []

    play(kind, url, scenario, pragmas=IMPATIENT)


@ON_POSTGRESQL
def test_autocommit_does_not_wait_for_the_lock(url: str) -> None:
    engine = create_engine(url, pragmas=IMPATIENT)
    with engine.begin() as writer, engine.connect() as connection:
        writer.execute(text("DELETE FROM clips"))
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(INSERT))
        assert keys(engine) == ["k"]
    engine.dispose()


@KINDS
def test_an_engine_in_autocommit(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.engine.connect() as connection:
            connection.execute(text(INSERT))
        assert keys(sessions.engine) == ["k"]

    play(kind, url, scenario, isolation_level="AUTOCOMMIT")


@ON_SQLITE
def test_a_write_after_a_half_read_result_of_an_old_snapshot_fails_at_once(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(INSERT))
        connection.execute(text(INSERT.replace("'k'", "'another'")))
    with engine.connect() as connection:
        result = connection.execute(select(ConfigOverride.key))
        result.fetchone()
        with engine.begin() as other:
            other.execute(text("UPDATE config_overrides SET value = 'theirs'"))
        with pytest.raises(
            OperationalError, match=r"database is locked: .* Read results to the end"
        ):
            connection.execute(text("DELETE FROM config_overrides"))
        result.close()
        connection.execute(text("DELETE FROM config_overrides"))
    engine.dispose()


@pytest.fixture
def watcher(url: str) -> Iterator[Engine]:
    """Return another engine on the same database."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


@ON_POSTGRESQL
@KINDS
def test_connections_that_the_server_has_closed_are_replaced(
    url: str, kind: str, watcher: Engine
) -> None:
    def scenario(sessions: Sessions) -> None:
        keys(sessions.engine)
        with watcher.connect() as connection:
            ended = connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            ).all()
        assert len(ended) == 1
        assert keys(sessions.engine) == []

    play(kind, url, scenario)


@KINDS
def test_each_transaction_of_a_connection_takes_the_lock(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.engine.connect() as connection:
            for _ in range(2):
                connection.execute(text("DELETE FROM config_overrides"))
                with (
                    sessions.engine.connect() as other,
                    pytest.raises(OperationalError, match=r"database is locked|lock timeout"),
                ):
                    other.execute(text("DELETE FROM clips"))
                connection.commit()

    play(kind, url, scenario, pragmas=IMPATIENT)


@ON_POSTGRESQL
def test_a_connection_lost_after_a_commit_has_no_unknown_outcome(url: str, watcher: Engine) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text(INSERT))
        connection.commit()
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        with watcher.connect() as other:
            assert other.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(OperationalError):
            connection.execute(text("DELETE FROM config_overrides"))
    engine.dispose()


@ON_POSTGRESQL
@pytest.mark.parametrize(("busy_timeout", "of_server"), [(None, "1"), (0, "0"), (1, "60s")])
def test_the_wait_for_the_lock_is_that_of_the_engine_or_of_the_server(
    url: str, watcher: Engine, busy_timeout: int | None, of_server: str
) -> None:
    """In PostgreSQL, 0 means to wait without end."""
    options = f"-c lock_timeout={of_server} -c statement_timeout=5s"
    engine = create_engine(
        url, pragmas={"busy_timeout": busy_timeout}, connect_args={"options": options}
    )
    with watcher.begin() as other, engine.connect() as connection:
        other.execute(text("SELECT 1"))
        with pytest.raises(OperationalError, match="lock timeout"):
            connection.execute(text("DELETE FROM config_overrides"))
    engine.dispose()


@ON_SQLITE
@KINDS
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_connection_that_only_read_is_returned_writable(url: str, kind: str, end: str) -> None:
    def scenario(sessions: Sessions) -> None:
        with sessions.reader() as session:
            assert session.scalars(select(ConfigOverride.key)).all() == []
            getattr(session, end)()
        raw = sessions.engine.raw_connection()
        raw.cursor().execute(INSERT)
        raw.close()

    play(kind, url, scenario, pool_size=1, max_overflow=0)


@ON_SQLITE
@KINDS
def test_a_read_only_connection_in_autocommit_reads_what_is_committed(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        reader = sessions.engine.execution_options(
            **READ_ONLY_OPTIONS, isolation_level="AUTOCOMMIT"
        )
        with reader.connect() as connection:
            assert connection.scalars(select(ConfigOverride.key)).all() == []
            with sessions.engine.begin() as other:
                other.execute(text(INSERT))
            assert connection.scalars(select(ConfigOverride.key)).all() == ["k"]
            with pytest.raises(ReadOnlyError):
                connection.execute(text("DELETE FROM config_overrides"))

    play(kind, url, scenario)


@KINDS
def test_the_events_of_a_transaction_occur(url: str, kind: str) -> None:
    def scenario(sessions: Sessions) -> None:
        seen: list[str] = []
        for name in ("begin", "commit", "rollback"):
            event.listen(sessions.engine, name, lambda _, name=name: seen.append(name))
        with sessions.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            connection.commit()
            connection.execute(text("SELECT 1"))
            connection.rollback()
        assert seen == ["begin", "commit", "begin", "rollback"]

    play(kind, url, scenario)
