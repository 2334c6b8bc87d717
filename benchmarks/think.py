"""Mixed work: processes and tasks that read, think, and write, and somebody who only reads."""

from __future__ import annotations

import sqlite3
import statistics
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from head_file import counted, make, remove
from measure import Scale, Table, in_turn, progress, spread
from peers import COUNTER, PEERS, PLAIN
from writers import ENDS, Outcome, connected, count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TITLE = "Work that thinks between its read and its write"

WHO = (
    *("shortsdb", PLAIN, "sqlalchemy", "django", "django-immediate"),
    *("peewee", "peewee-immediate", "raw"),
)
# Django's tasks run one after the other, so that none ever meets a lock.
IN_TASKS = tuple(name for name in WHO if name != "django-immediate")

HOW = """\
Each reads a row, thinks, adds one and commits, again and again for {seconds:g} s and twice the time
of thinking; beside them another process of the same library reads a run with everything under it,
every 10 ms. In a cell: commits per second within this time / errors ("database is locked", or no
connection of the pool in time) / refused (a row that somebody else has changed meanwhile; it can be
done again) / lost (committed without an error, and not in the file at the end). Nobody tries
again."""
WAITS = """\
Seconds of the longest write, less its thinking, and of the longest read, of all rounds."""
WHY = """\
Who begins with the lock (shortsdb's begun sessions, `IMMEDIATE`) holds it while thinking: then one
transaction after the other is done, and whoever waits longer than the library does fails. A plain
session of shortsdb takes the lock for the write alone, so that rows of its own are written as fast
as the thinking allows; of those who think about the same row, one is kept and the others are
refused. Django's tasks run one after the other in one thread."""

Outcomes: TypeAlias = "dict[tuple[bool, float], tuple[Outcome, float]]"
"""By whether the row is shared and how long is thought; with the seconds of the longest read."""


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure processes and tasks, on rows of their own and on a shared one."""
    tables: list[Table] = []
    for where, work, who in (
        (f"{scale.processes} processes", _in_processes, WHO),
        (f"{scale.tasks} tasks of asyncio", _in_tasks, IN_TASKS),
    ):
        progress(f"{TITLE}: {where}")
        works = {name: partial(work, name, folder, scale) for name in who}
        rounds = in_turn(scale.file_rounds, works)
        for shared in (False, True):
            rows = "the same row" if shared else "a row of their own"
            tables.extend(_tables(f"{where}, {rows}", shared, scale, rounds))
    tables[0].notes = [HOW.format(seconds=scale.think_seconds), WHY]
    tables[1].notes = [WAITS]
    return tables


def _in_processes(name: str, folder: Path, scale: Scale) -> Outcomes:
    path = _file(folder, scale.processes)
    outcomes = {}
    with connected(name, path, scale.processes + 1) as (reader, *writers):
        for shared, think, keys in _kinds(scale, scale.processes):
            limit = scale.think_seconds + 2 * think
            reader.ask("read", limit)
            outcome = count(writers, keys, partial(counted, path), 10**9, think, limit)
            outcomes[shared, think] = outcome, reader.answer()
    remove(path)
    return outcomes


def _in_tasks(name: str, folder: Path, scale: Scale) -> Outcomes:
    path = _file(folder, scale.tasks)
    outcomes = {}
    with connected(name, path, 2) as (worker, reader):
        for shared, think, keys in _kinds(scale, scale.tasks):
            limit = scale.think_seconds + 2 * think
            worker.ask("count_in_tasks", keys, 10**9, think, limit)
            reader.ask("read", limit)
            answer = worker.answer()
            kept = counted(path) - answer["before"]
            outcomes[shared, think] = Outcome.of(answer["counts"], kept), reader.answer()
    remove(path)
    return outcomes


def _kinds(scale: Scale, workers: int) -> Iterator[tuple[bool, float, list[str]]]:
    """Yield whether the row is shared, how long is thought, and the row of each worker."""
    for think in scale.thinks:
        yield False, think, [f"own {number}" for number in range(workers)]
        yield True, think, [COUNTER] * workers


def _file(folder: Path, workers: int) -> Path:
    path = folder / "thinking.db"
    make(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO config_overrides (key, value) VALUES (?, '0')",
            [(f"own {number}",) for number in range(workers)],
        )
    return path


def _tables(
    title: str,
    shared: bool,  # noqa: FBT001 - half of a key
    scale: Scale,
    rounds: Mapping[str, Sequence[Outcomes]],
) -> Iterator[Table]:
    columns = ["", *(f"{think * 1000:,.0f} ms" for think in scale.thinks)]
    done, waits = [], []
    for name, of_it in rounds.items():
        cells, wait = [], []
        for think in scale.thinks:
            found = [one[shared, think] for one in of_it]
            ends = [
                statistics.median(getattr(outcome, what) for outcome, _ in found) for what in ENDS
            ]
            rate = spread([outcome.per_second for outcome, _ in found])
            cells.append(" / ".join([rate, *(f"{number:,.0f}" for number in ends)]))
            write = max(outcome.longest for outcome, _ in found)
            wait.append(f"{write:.2f} / {max(read for _, read in found):.2f}")
        done.append([PEERS[name].name, *cells])
        waits.append([PEERS[name].name, *wait])
    yield Table(title, columns, done)
    yield Table(f"{title}: the longest write / read, s", columns, waits)
