"""Update two counters in several threads and processes, and print the committed changes.

`python tests/helpers/contract_worker.py URL SEED THREADS TRANSACTIONS` waits for a line on standard
input. Every transaction adds one to both counters and inserts a row, in a randomly chosen kind of
session or connection; some are rolled back. It prints JSON: `committed` and `refused` are the keys
of the rows, `conflicts` is the number of conflicts.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, cast, insert, select, update

from shortsdb.engine import (
    StaleRowError,
    async_session_factory,
    create_async_engine,
    create_engine,
    run_transaction,
    run_transaction_async,
    session_factory,
)
from shortsdb.models import ConfigOverride

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

COUNTERS = ("counter", "second counter")


class ChangeOfMindError(Exception):
    """A transaction that is rolled back on purpose."""


@dataclass
class Report:
    """The outcomes of the transactions."""

    committed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    conflicts: int = 0


class Worker:
    """One thread, with its engines; every method named in KINDS is a kind of transaction."""

    def __init__(self, url: str) -> None:
        """Create engines, which do not connect yet."""
        self.engine = create_engine(url)
        self.async_engine = create_async_engine(url)
        self.loop = asyncio.new_event_loop()
        self.factory = session_factory(self.engine)
        self.async_factory = async_session_factory(self.async_engine)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()
        self.loop.run_until_complete(self.async_engine.dispose())
        self.loop.close()

    def plain(self, work: Callable[[Session], None]) -> None:
        """Work in a session without an explicit transaction."""
        with self.factory() as session:
            work(session)
            session.commit()

    def explicit(self, work: Callable[[Session], None]) -> None:
        """Work in an explicit transaction."""
        with self.factory.begin() as session:
            work(session)

    def repeated(self, work: Callable[[Session], None]) -> None:
        """Work in `run_transaction`."""
        run_transaction(self.factory, work)

    def async_plain(self, work: Callable[[Session], None]) -> None:
        """Work in an async session without an explicit transaction."""

        async def run() -> None:
            async with self.async_factory() as session:
                await session.run_sync(work)
                await session.commit()

        self.loop.run_until_complete(run())

    def async_repeated(self, work: Callable[[Session], None]) -> None:
        """Work in `run_transaction_async`."""

        async def async_work(session: AsyncSession) -> None:
            await session.run_sync(work)

        self.loop.run_until_complete(run_transaction_async(self.async_factory, async_work))

    def core(self, work: Callable[[Connection], None]) -> None:
        """Work on a connection."""
        with self.engine.connect() as connection:
            work(connection)
            connection.commit()

    def core_explicit(self, work: Callable[[Connection], None]) -> None:
        """Work in an explicit transaction of a connection."""
        with self.engine.begin() as connection:
            work(connection)

    def check_snapshot(self) -> None:
        """Check that reading both counters twice returns one value."""
        with session_factory(self.engine, read_only=True)() as session:
            values = [
                session.scalars(select(ConfigOverride.value).filter_by(key=counter)).one()
                for counter in COUNTERS * 2
            ]
        assert len(set(values)) == 1, values


KINDS: list[Callable[[Worker, Any], None]] = [
    Worker.plain,
    Worker.explicit,
    Worker.repeated,
    Worker.async_plain,
    Worker.async_repeated,
    Worker.core,
    Worker.core_explicit,
]
MAY_CONFLICT = {Worker.plain, Worker.async_plain}
CORE = {Worker.core, Worker.core_explicit}


def count(on: Session, key: str, *, fails: bool) -> None:
    """Read the counters, add one to each, and insert a row."""
    for counter in COUNTERS:
        row = on.get_one(ConfigOverride, counter)
        row.value = str(int(row.value) + 1)
    on.add(ConfigOverride(key=key, value=""))
    on.flush()
    if fails:
        raise ChangeOfMindError


def count_in_sql(on: Connection, key: str, *, fails: bool) -> None:
    """Let the database add one to the counters, and insert a row."""
    value = cast(cast(ConfigOverride.value, Integer) + 1, String)
    on.execute(update(ConfigOverride).where(ConfigOverride.key.in_(COUNTERS)).values(value=value))
    on.execute(insert(ConfigOverride).values(key=key, value=""))
    if fails:
        raise ChangeOfMindError


def work(url: str, seed: str, transactions: int) -> Report:
    """Run transactions of random kinds, and report their outcomes."""
    chance = random.Random(seed)  # noqa: S311 - reproducible, nothing secret
    worker = Worker(url)
    report = Report()
    for number in range(transactions):
        key = f"{seed} {number}"
        kind, fails = chance.choice(KINDS), chance.random() < 0.2
        step = count_in_sql if kind in CORE else count
        try:
            kind(worker, lambda on, step=step, key=key, fails=fails: step(on, key, fails=fails))
        except ChangeOfMindError:
            report.refused.append(key)
        except StaleRowError:
            assert kind in MAY_CONFLICT, kind
            report.refused.append(key)
            report.conflicts += 1
        else:
            report.committed.append(key)
        worker.check_snapshot()
    worker.close()
    return report


def main(url: str, seed: str, threads: int, transactions: int) -> None:
    """Run `threads` workers, after a line on standard input."""
    print("ready", flush=True)  # noqa: T201 - read by the test
    sys.stdin.readline()
    with ThreadPoolExecutor(threads) as pool:
        seeds = [f"{seed} {thread}" for thread in range(threads)]
        reports = list(pool.map(lambda seed: work(url, seed, transactions), seeds))
    print(json.dumps([asdict(report) for report in reports]))  # noqa: T201 - as above


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
