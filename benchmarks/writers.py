"""Concurrent writers: read a counter, add one and commit, all at once."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import head_file
from measure import Scale, Table, in_turn, progress, ratio, spread
from peers import COUNTER, IN_THREADS, PEERS, PLAIN
from worker import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TITLE = "Concurrent writers"

HOW = """\
Lost are increments that were committed without an error and are not in the counter at the end;
errors are increments that ended with "database is locked". Nobody tries again. Only committed and
kept increments count per second. All commits are durable (`synchronous` FULL, SQLite's default)."""
WHO = """\
SQLAlchemy's default engine and SQLModel, which takes it over, begin SQLite's transaction at the
first write, after the read. Django and Peewee by default begin one that takes the lock at its first
write, and fails if somebody else has written since it read. Django's settings are those of its
page on SQLite; Peewee's PRAGMAs and modes those of its own page."""
WHY = """\
Why libraries with the same locking differ, and all of them take longer than the limit: the lock is
held while the library reads the row, finds out what has changed, and makes its statements. By a
profiler next to none of that is shortsdb's own code; nearly all is SQLAlchemy's session and unit of
work. Whoever finds the lock taken sleeps, up to a tenth of a second, before SQLite tries again for
it; that makes these figures spread."""
HOW_ASYNC = """\
In one process, through aiosqlite, with each library's own pool. Django has no transactions in async
mode: as its documentation says, the function is wrapped in `sync_to_async`, which runs all of them
one after the other in one thread, so that no two of them ever meet. The limit has a connection per
task."""
WHY_ASYNC = """\
Why Django counts faster: its function goes to the thread once, while through aiosqlite every cursor
that is made, executed, fetched from and closed goes to the connection's thread and back each time.
Waiting for each other is not the reason: a single task counts about as fast as all of them do, and
one connection in the pool makes them little faster. A program that needs more does as Django does,
by `asyncio.to_thread` and the sync engine."""


@dataclass(frozen=True)
class Outcome:
    """What came of one round."""

    per_second: float
    tried: int
    errors: int
    lost: int


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure both kinds, below an empty folder."""
    tables = []
    everybody = [name for name in PEERS if name != PLAIN]  # which is measured in think.py
    in_processes = [name for name in everybody if name != IN_THREADS]
    for title, count, who, notes in (
        (f"{scale.processes} processes", _in_processes, in_processes, (HOW, WHO, WHY)),
        (f"{scale.tasks} tasks of asyncio", _in_tasks, everybody, (HOW_ASYNC, WHY_ASYNC)),
    ):
        progress(f"{TITLE}: {title}")
        works = {name: partial(count, name, folder, scale) for name in who}
        outcomes = in_turn(scale.long_rounds, works)
        tried = outcomes["shortsdb"][0].tried
        columns = ["", "increments/s", "of shortsdb", "errors", f"lost updates, of {tried}"]
        tables.append(Table(title, columns, _rows(outcomes), notes))
    return tables


def _in_processes(name: str, folder: Path, scale: Scale) -> Outcome:
    """Count in processes that start at once, each that often."""
    path = folder / "counter.db"
    head_file.make(path)
    with ExitStack() as stack:
        workers = []
        # One after the other, until each is connected: SQLite does not wait for its turn to set
        # WAL mode, and start-up is not what is measured.
        for _ in range(scale.processes):
            worker = stack.enter_context(Worker(name, path))
            worker.answer()
            worker.ask("count", 1)
            worker.answer()
            workers.append(worker)
        before = head_file.counted(path)
        for worker in workers:
            worker.ask("count", scale.increments)
        answers = [worker.answer() for worker in workers]
    return _outcome(path, before, scale.processes * scale.increments, answers)


def _in_tasks(name: str, folder: Path, scale: Scale) -> Outcome:
    """Count in tasks of one process; each increments less often, there are so many."""
    path = folder / "counter.db"
    head_file.make(path)
    each = max(scale.processes * scale.increments // scale.tasks, 1)
    with Worker(name, path) as worker:
        worker.answer()
        worker.ask("count_in_tasks", [COUNTER] * scale.tasks, each)
        answer = worker.answer()
    return _outcome(path, answer["before"], scale.tasks * each, answer["counts"])


def _outcome(path: Path, before: int, tried: int, answers: Sequence[Any]) -> Outcome:
    kept = head_file.counted(path) - before
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    errors = sum(answer["errors"] for answer in answers)
    took = max(answer["ended"] for answer in answers) - min(answer["began"] for answer in answers)
    return Outcome(per_second=kept / took, tried=tried, errors=errors, lost=tried - errors - kept)


def _rows(outcomes: Mapping[str, Sequence[Outcome]]) -> list[list[str]]:
    rates = {name: [one.per_second for one in of_it] for name, of_it in outcomes.items()}
    return [
        [
            PEERS[name].name,
            spread(rates[name]),
            ratio(rates[name], rates["shortsdb"]),
            spread([one.errors for one in of_it]),
            spread([one.lost for one in of_it]),
        ]
        for name, of_it in outcomes.items()
    ]
