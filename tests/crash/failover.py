"""Ten failovers of a real cluster while others write and migrate: `make failover`.

A round ends the leader in one of three ways, while one migration follows the other. Afterwards
every row whose commit was acknowledged is there once, and what each migration said of the database
is true. The rounds that have passed are kept in build/failover.json: an interrupted run goes on
with the next one.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from alembic import command
from patroni_cluster import PATIENCE, Cluster
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
from shortsdb.errors import OperationRefused
from shortsdb.migration import MigrationRefused, alembic_config, read_status, revision_ids
from shortsdb.models import PipelineRun
from shortsdb.target import Target

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

RESULTS = Path(__file__).parents[2] / "build" / "failover.json"
WAYS = ("kill", "freeze", "switchover")
ROUNDS = 10
ATTEMPTS = 500  # of at most two seconds: a failover takes half a minute
WRITERS = 2  # of each kind
LOWER, HEAD = "0006", revision_ids()[-1]  # the migrations go from the one to the other and back
NOW = datetime(2026, 1, 1)  # noqa: DTZ001 - the models hold naive UTC


@dataclass
class Round:
    """What one failover cost."""

    way: str
    acknowledged: int
    unknown: int  # the connection was lost during the COMMIT
    unknown_kept: int
    without_writes: float  # seconds between two acknowledged commits of any writer, at most
    migrations: int
    refused: list[str]  # what those said that did not succeed
    untrue: int  # of these, after which the database was not what they said
    lost: int = 0
    doubled: int = 0


class Writers:
    """Threads, and tasks of an event loop, that write row after row and note what they are told."""

    def __init__(self, url: str, prefix: str) -> None:
        """Start them; each row's niche begins with `prefix`."""
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []
        self.at = [time.monotonic()]
        self.errors: list[BaseException] = []
        self._url = url
        self._stop = Event()
        names = [f"{prefix} {number}" for number in range(WRITERS)]
        self._threads = [Thread(target=self._run, args=(self._write, name)) for name in names]
        self._threads.append(Thread(target=self._run, args=(self._write_async, prefix)))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End them, and raise what one of them has met."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def _run(self, write: object, name: str) -> None:
        assert callable(write)
        try:
            write(name)
        except BaseException as error:  # noqa: BLE001 - raised by stop
            self.errors.append(error)

    def _told(self, name: str, error: OutcomeUnknownError | None = None) -> None:
        if error is not None:
            self.unknown.append(name)
            return
        self.acknowledged.append(name)
        self.at.append(time.monotonic())

    def _write(self, prefix: str) -> None:
        engine = create_engine(self._url)
        factory = session_factory(engine)
        number = 0
        while not self._stop.is_set():
            name = f"{prefix} {(number := number + 1)}"

            def work(session: Session, name: str = name) -> None:
                session.add(_run_of(name))

            try:
                run_transaction(factory, work, attempts=ATTEMPTS)
                self._told(name)
            except OutcomeUnknownError as error:
                self._told(name, error)
        engine.dispose()

    def _write_async(self, prefix: str) -> None:
        async def main() -> None:
            engine = create_async_engine(self._url)
            factory = async_session_factory(engine)

            async def one(task: str) -> None:
                number = 0
                while not self._stop.is_set():
                    name = f"{prefix} {task} {(number := number + 1)}"

                    async def work(session: AsyncSession, name: str = name) -> None:
                        session.add(_run_of(name))

                    try:
                        await run_transaction_async(factory, work, attempts=ATTEMPTS)
                        self._told(name)
                    except OutcomeUnknownError as error:
                        self._told(name, error)

            await asyncio.gather(*(one(f"task {number}") for number in range(WRITERS)))
            await engine.dispose()

        asyncio.run(main())


def _run_of(name: str) -> PipelineRun:
    return PipelineRun(niche=name, cycle_start=NOW, cycle_end=NOW)


class Migrations:
    """A thread that upgrades and downgrades, and looks at what came of each."""

    def __init__(self, url: str) -> None:
        """Start it."""
        self.done = 0
        self.refused: list[str] = []
        self.untrue = 0
        self.error: BaseException | None = None
        self._url = url
        self._stop = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """End it, and raise what it has met."""
        self._stop.set()
        self._thread.join()
        if self.error:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._migrate()
        except BaseException as error:  # noqa: BLE001 - raised by stop
            self.error = error

    def _migrate(self) -> None:
        before = _revision(self._url)
        migrate, after = (command.downgrade, LOWER) if before != LOWER else (command.upgrade, HEAD)
        try:
            migrate(alembic_config(self._url), after)
        except MigrationRefused as refusal:
            message = str(refusal)
            self.refused.append(message.partition(": ")[2])
            possible = {before} if "nothing was changed" in message else {before, after}
        else:
            self.done += 1
            possible = {after}
        self.untrue += _revision(self._url) not in possible


def _revision(url: str) -> str | None:
    """Return the revision of the cluster, as soon as one of its nodes leads."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return read_status(Target.parse(url), None).revision
        except OperationRefused:
            if time.monotonic() > give_up:
                raise


def _fail_over(cluster: Cluster, way: str) -> None:
    leader = cluster.leader()
    assert leader is not None

    def led_by_another() -> bool:
        return cluster.leader() not in {None, leader}

    if way == "switchover":
        cluster.switch_over(leader)
        cluster.wait(led_by_another)
    elif way == "kill":
        cluster.kill(leader)
        cluster.wait(led_by_another)
        cluster.restart(leader)
    else:
        cluster.signal(leader, signal.SIGSTOP)
        cluster.wait(led_by_another)
        cluster.signal(leader, signal.SIGCONT)


def _play(cluster: Cluster, way: str, prefix: str) -> Round:
    cluster.wait(cluster.is_complete)
    writers, migrations = Writers(cluster.url, prefix), Migrations(cluster.url)

    def go_on(rows: int, times: int) -> None:
        rows, times = rows + len(writers.acknowledged), times + migrations.done
        cluster.wait(
            lambda: (
                (len(writers.acknowledged) >= rows and migrations.done >= times)
                or bool(writers.errors or migrations.error)
            )
        )

    go_on(100, 2)
    _fail_over(cluster, way)
    go_on(100, 2)
    migrations.stop()
    writers.stop()
    cluster.wait(cluster.is_complete)
    there = _rows(cluster.url, prefix)
    return Round(
        way,
        len(writers.acknowledged),
        len(writers.unknown),
        len(set(writers.unknown).intersection(there)),
        round(max(b - a for a, b in zip(writers.at, writers.at[1:], strict=False)), 1),
        migrations.done,
        migrations.refused,
        migrations.untrue,
        lost=len(set(writers.acknowledged).difference(there)),
        doubled=sum(count - 1 for count in there.values()),
    )


def _rows(url: str, prefix: str) -> Counter[str]:
    engine = create_engine(url)
    with session_factory(engine, read_only=True)() as session:
        mine = select(PipelineRun.niche).where(PipelineRun.niche.startswith(prefix))
        found = Counter(session.scalars(mine))
    engine.dispose()
    return found


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is what it is run for


def main() -> int:
    """Play the rounds that have not passed yet, and print all of them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the cluster ends with it
    rounds = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    if len(rounds) < ROUNDS:
        with Cluster() as cluster:
            command.upgrade(alembic_config(cluster.url), "head")
            while len(rounds) < ROUNDS:
                way = WAYS[len(rounds) % len(WAYS)]
                played = _play(cluster, way, f"round {len(rounds)}:")
                rounds.append(asdict(played))
                _say(json.dumps(rounds[-1]))
                if played.lost or played.doubled or played.untrue:
                    return 1
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(rounds, indent=1) + "\n", encoding="utf-8")
    names = ("acknowledged", "lost", "doubled", "unknown", "unknown_kept", "migrations", "untrue")
    for name in names:
        _say(f"{name:<16}{sum(each[name] for each in rounds):>8,}")
    for way in WAYS:
        waits = [each["without_writes"] for each in rounds if each["way"] == way]
        _say(f"{way:<16}{len(waits):>8} times, at most {max(waits)} s without a commit")
    refused = Counter(
        re.sub(r"[0-9.]+:[0-9]+|port [0-9]+", "…", text)
        for each in rounds
        for text in each["refused"]
    )
    for message, count in refused.most_common():
        _say(f"{count} migrations: {message}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
