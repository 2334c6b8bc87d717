"""A primary with a streaming standby: reads on the standby, and writes after its promotion."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from alembic import command
from postgresql_server import Database, Server
from sqlalchemy.exc import DBAPIError

from shortsdb.database import check_db_health, get_override, set_override
from shortsdb.engine import READ_ONLY_OPTIONS, create_engine, session_factory
from shortsdb.migration import MigrationRefused
from shortsdb.migration.revisions import alembic_config
from shortsdb.transfer import copy as copy_database

if TYPE_CHECKING:
    from pathlib import Path

    from project import Program


def caught_up(primary: Database, standby: Database) -> bool:
    position = primary.psql("SELECT pg_current_wal_lsn()").strip()
    return standby.psql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t\n"


def test_a_standby_is_readable_and_after_promotion_writable(
    alembic: Program, tmp_path: Path
) -> None:
    with Server() as server:
        primary = server.create_database()
        command.upgrade(alembic_config(primary.url), "0007")
        with Server(primary=server) as replica:
            standby = Database(replica, primary.name)
            config = alembic_config(standby.url)
            refused = alembic("-x", f"url={standby.url}", "upgrade", "head")
            assert refused.returncode != 0
            assert "is read-only (cannot execute " in refused.stdout
            assert "use the primary; nothing was changed" in refused.stdout
            assert "Traceback" not in refused.stderr

            command.upgrade(alembic_config(primary.url), "head")
            writer = create_engine(primary.url)
            with session_factory(writer)() as session:
                set_override(session, "volume", "11")
            writer.dispose()
            give_up = time.monotonic() + 60
            while not caught_up(primary, standby):
                assert time.monotonic() < give_up

            command.check(config)  # the revision came along, and the schema with it
            engine = create_engine(standby.url)
            with session_factory(engine, read_only=True)() as session:
                assert get_override(session, "volume") == "11"
            # The read-only engine is healthy, the writing one is not.
            reading = engine.execution_options(**READ_ONLY_OPTIONS)
            assert check_db_health(reading).problems == ()
            assert check_db_health(engine).problems == ("it is read-only: the server is a standby",)
            # A connection that was read-only before says it otherwise.
            for phrase in ("read-write mode during recovery", "in a read-only transaction"):
                with (
                    session_factory(engine)() as session,
                    pytest.raises(DBAPIError, match=phrase),
                ):
                    set_override(session, "volume", "12")
                engine.dispose()

            back = tmp_path / "back.db"
            assert copy_database(standby.url, str(back))
            with pytest.raises(MigrationRefused, match="is read-only: a standby"):
                copy_database(str(back), standby.url)

            replica.promote()
            with session_factory(engine)() as session:  # the same engine
                set_override(session, "volume", "12")
                assert get_override(session, "volume") == "12"
            engine.dispose()
            command.downgrade(config, "0007")
            command.upgrade(config, "head")
            command.check(config)
