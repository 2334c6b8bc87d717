"""A synchronous standby is promoted while others write: what was acknowledged is there."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

import pytest
from alembic import command
from postgresql_server import Database, Server
from sqlalchemy import select

from shortsdb.engine import (
    OutcomeUnknownError,
    async_session_factory,
    create_async_engine,
    create_engine,
    run_transaction,
    run_transaction_async,
    session_factory,
)
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import ErrorLog

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

WRITERS = 2
ATTEMPTS = 200  # of at most two seconds each: a promotion on a loaded machine takes a while
ROWS = 30  # of each writer, before and again after the failover


@dataclass
class Acknowledged:
    """What one writer was told."""

    name: str
    rows: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    next: str = ""

    def row(self) -> ErrorLog:
        """Return the row that it writes now."""
        return ErrorLog(module=self.name, error_type="T", error_message=self.next)

    def begin(self) -> None:
        """Go on to the next row."""
        self.next = f"{self.name} {len(self.rows) + len(self.unknown)}"


def write(url: str, told: Acknowledged, failed_over: Event) -> None:
    engine = create_engine(url)
    factory = session_factory(engine)

    def work(session: Session) -> None:
        session.add(told.row())

    after = 0
    while after < ROWS:
        told.begin()
        try:
            run_transaction(factory, work, attempts=ATTEMPTS)
        except OutcomeUnknownError:
            told.unknown.append(told.next)
        else:
            told.rows.append(told.next)
            after += failed_over.is_set()
    engine.dispose()


def write_async(url: str, told: Acknowledged, failed_over: Event) -> None:
    async def main() -> None:
        engine = create_async_engine(url)
        factory = async_session_factory(engine)

        async def work(session: AsyncSession) -> None:
            session.add(told.row())

        after = 0
        while after < ROWS:
            told.begin()
            try:
                await run_transaction_async(factory, work, attempts=ATTEMPTS)
            except OutcomeUnknownError:
                told.unknown.append(told.next)
            else:
                told.rows.append(told.next)
                after += failed_over.is_set()
        await engine.dispose()

    asyncio.run(main())


@pytest.mark.parametrize("writer", [write, write_async], ids=["sync", "async"])
def test_no_acknowledged_row_is_lost_and_none_is_there_twice(writer: object) -> None:
    assert callable(writer)
    with Server() as primary:
        database = primary.create_database()
        command.upgrade(alembic_config(database.url), "head")
        with Server(primary=primary) as standby, ThreadPoolExecutor(WRITERS) as threads:
            # Only on the primary: the other one is to commit alone when it is promoted.
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.execute("SELECT pg_reload_conf()")
            url = (
                f"postgresql+psycopg://shortsdb@/{database.name}?host={primary.folder}"
                f"&host={standby.folder}&target_session_attrs=read-write"
            )
            told, failed_over = [Acknowledged(f"w{number}") for number in range(WRITERS)], Event()
            running = [threads.submit(writer, url, each, failed_over) for each in told]
            while min(len(each.rows) for each in told) < ROWS:
                assert not any(future.done() for future in running)
            primary.stop()
            standby.promote()
            failed_over.set()
            for ended in running:
                ended.result()
            engine = create_engine(Database(standby, database.name).url)
            with session_factory(engine, read_only=True)() as session:
                there = list(session.scalars(select(ErrorLog.error_message)))
            engine.dispose()
    assert len(there) == len(set(there))
    for each in told:
        assert not set(each.rows).difference(there)
        assert set(each.rows).union(each.unknown) >= {
            message for message in there if message.startswith(f"{each.name} ")
        }
