"""Concurrent writers: read a counter, add one and commit, all at once."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import head_file
from measure import Scale, Table, in_turn, progress, ratio, spread
from peers import COUNTER, IN_THREADS, PEERS, PLAIN
from worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

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
Waiting for each other is a smaller reason: each of the 50 connections, which tasks that think need,
asks SQLite for the lock again and again; with one in the pool they count half as fast again. A
program that needs more does as Django does, by `asyncio.to_thread` and the sync engine."""

ENDS = ("errors", "refused", "lost")


@dataclass(frozen=True)
class Outcome:
    """What came of increments, by how they ended, and the seconds of the longest."""

    per_second: float
    tried: int
    errors: int
    refused: int
    lost: int
    longest: float

    @classmethod
    def of(cls, counts: Sequence[Mapping[str, Any]], kept: int) -> Self:
        """Sum up what workers have answered, when so many increments are in the database."""
        summed = {
            name: sum(count[name] for count in counts)
            for name in ("committed", "in_time", "errors", "refused")
        }
        # Who waits for a lock at the limit may commit long after it, when few are left.
        took = max(count["ended"] for count in counts) - min(count["began"] for count in counts)
        per_second = summed["in_time"] / min(took, counts[0]["limit"])
        return cls(
            per_second=per_second * kept / max(summed["committed"], 1),
            tried=summed["committed"] + summed["errors"] + summed["refused"],
            errors=summed["errors"],
            refused=summed["refused"],
            lost=summed["committed"] - kept,
            longest=max(count["longest"] for count in counts),
        )


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure both kinds, below an empty folder."""
    tables = []
    everybody = [name for name in PEERS if name != PLAIN]  # which is measured in think.py
    in_processes = [name for name in everybody if name != IN_THREADS]
    for title, work, who, notes in (
        (f"{scale.processes} processes", _in_processes, in_processes, (HOW, WHO, WHY)),
        (f"{scale.tasks} tasks of asyncio", _in_tasks, everybody, (HOW_ASYNC, WHY_ASYNC)),
    ):
        progress(f"{TITLE}: {title}")
        works = {PEERS[name].name: partial(work, name, folder, scale) for name in who}
        tables.append(table(title, in_turn(scale.file_rounds, works), notes))
    return tables


def _in_processes(name: str, folder: Path, scale: Scale) -> Outcome:
    path = folder / "counter.db"
    head_file.make(path)
    keys = [COUNTER] * scale.processes
    with connected(name, path, scale.processes) as workers:
        outcome = count(workers, keys, partial(head_file.counted, path), scale.increments)
    head_file.remove(path)
    return outcome


@contextmanager
def connected(name: str, address: Path | str, number: int) -> Iterator[list[Worker]]:
    """Yield processes of a peer that have counted once.

    They start one after the other: SQLite does not wait for its turn to set WAL mode, and start-up
    is not what is measured.
    """
    with ExitStack() as stack:
        workers = []
        for _ in range(number):
            worker = stack.enter_context(Worker(name, address))
            worker.answer()
            worker.ask("count", COUNTER, 1)
            worker.answer()
            workers.append(worker)
        yield workers


def count(
    workers: Sequence[Worker], keys: Sequence[str], counted: Callable[[], int], *how: float
) -> Outcome:
    """Let each of the processes count its row, all at once; see `worker.count` for how."""
    before = counted()
    for worker, key in zip(workers, keys, strict=True):
        worker.ask("count", key, *how)
    answers = [worker.answer() for worker in workers]
    return Outcome.of(answers, counted() - before)


def _in_tasks(name: str, folder: Path, scale: Scale) -> Outcome:
    """Count in tasks of one process; each increments less often, there are so many."""
    path = folder / "counter.db"
    head_file.make(path)
    each = max(scale.processes * scale.increments // scale.tasks, 1)
    with Worker(name, path) as worker:
        worker.answer()
        worker.ask("count_in_tasks", [COUNTER] * scale.tasks, each)
        answer = worker.answer()
    outcome = Outcome.of(answer["counts"], head_file.counted(path) - answer["before"])
    head_file.remove(path)
    return outcome


def table(title: str, outcomes: Mapping[str, Sequence[Outcome]], notes: Sequence[str]) -> Table:
    """Return the outcomes of each, by name; the first is shortsdb."""
    rates = {name: [one.per_second for one in of_it] for name, of_it in outcomes.items()}
    ours = next(iter(outcomes))
    tried = outcomes[ours][0].tried
    return Table(
        title,
        ["", "increments/s", "of shortsdb", "errors", "refused", f"lost updates, of {tried}"],
        [
            [
                name,
                spread(rates[name]),
                ratio(rates[name], rates[ours]),
                *(spread([getattr(one, what) for one in of_it]) for what in ENDS),
            ]
            for name, of_it in outcomes.items()
        ],
        notes,
    )
