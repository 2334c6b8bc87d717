"""Rows: snapshots written and read in bulk, the latest ones, and a whole run."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import head_file
from measure import Scale, Table, in_turn, milliseconds, progress, ratio, with_ratio
from peers import PEERS, RUN_ID
from worker import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TITLE = "Rows"
_LARGE = 10_000_000
_WHOLE_MILLISECONDS_FROM = 0.1  # seconds
# Settings that matter to writers only are left out.
WHO = ("shortsdb", "sqlalchemy", "django", "peewee", "sqlmodel", "raw")
# Each task at its smallest.
SMALLEST: tuple[Sequence[Any], ...] = (
    ("objects", 1, 1, 1),
    ("rows", 1, 1, 1),
    ("latest", 1, head_file.video(0)),
    ("latest_of", 1, [head_file.video(0)]),
    ("whole_run", 1, RUN_ID),
)

HOW_WRITTEN = """\
In one transaction, into a file of its own with the ten tables and no snapshot. shortsdb by
`record_snapshots`, SQLAlchemy and SQLModel by `insert()` with the model, Django by `bulk_create`,
Peewee by `insert_many` in chunks of 1,000, the limit by `executemany`. Sizes differ only by how a
moment is written: Django leaves out microseconds that are 0."""
HOW_READ = """\
All read the same file. A task has a session of its own where there are sessions. A whole run comes
with the video of each clip and the clip of each Short. The limit reads moments as text and has no
objects."""
HOW_LATEST = """\
The latest of many videos: shortsdb's `latest_snapshots` goes to the index once per video, so that
it does not read more as the table grows; SQLAlchemy, SQLModel and Peewee have the greatest moment
of each video joined back, Django a window function, as their documentation writes it, and read
every index entry of these videos. One by one, in a loop, costs them the column before, times the
videos; the limit does it like that. Where the table is small, most of shortsdb's time is
SQLAlchemy's compiling of the list of videos, which it cannot keep from one call to the next."""
WHY = """\
Why shortsdb takes longer than Django for many objects: SQLAlchemy keeps a second object beside
each, its state, and Python's garbage collector goes over both again and again as they pile up; with
the collector switched off the two take the same. Why rows take longer than SQLAlchemy's: a function
of shortsdb's looks at each moment, and makes UTC of one that raw SQL stored with an offset. Why a
single row takes longer than others: SQLAlchemy builds each statement anew, looks it up among those
compiled before, and makes and closes a session; and a read-only session of shortsdb has a
transaction, and keeps itself from writing, by three statements more, where SQLAlchemy's default
engine, Django and Peewee read outside any transaction."""


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure all, below an empty folder."""
    tables = [_writing(scale, folder)]
    path = folder / "rows.db"
    head_file.make(path)
    there = 0
    for size in scale.snapshots:
        progress(f"{TITLE}: adding snapshots up to {size:,}")
        head_file.add_snapshots(path, there, size - there)
        there = size
        tables.append(_reading(scale, path, size))
    tables[-1].notes = (HOW_READ, HOW_LATEST, WHY)
    return tables


def _writing(scale: Scale, folder: Path) -> Table:
    progress(f"{TITLE}: writing {scale.bulk:,} snapshots")
    sizes: dict[str, int] = {}

    def write(name: str) -> float:
        path = folder / f"{name}.db"
        head_file.make(path)
        with Worker(name, path) as worker:
            worker.answer()
            worker.ask("task", "insert", 1, 0, 1)  # connected, and all is imported
            worker.answer()
            worker.ask("task", "insert", 1, 0, scale.bulk)
            took = float(worker.answer()["seconds"])
        sizes[name] = head_file.size(path)
        head_file.remove(path)
        return took

    taken = in_turn(scale.long_rounds, {name: partial(write, name) for name in WHO})
    rows = [
        [
            PEERS[name].name,
            milliseconds(taken[name]),
            ratio(taken[name], taken["shortsdb"]),
            f"{sizes[name] / 2**20:.1f}",
        ]
        for name in WHO
    ]
    title = f"Writing {scale.bulk:,} snapshots"
    return Table(title, ["", "ms", "of shortsdb", "file, MiB"], rows, [HOW_WRITTEN])


def _reading(scale: Scale, path: Path, size: int) -> Table:
    progress(f"{TITLE}: reading from {size:,}")
    last = size
    first = last - scale.bulk + 1
    videos = [head_file.video(number) for number in range(scale.videos)]
    rounds = scale.long_rounds if size < _LARGE else scale.file_rounds
    repeated = 200 if scale.rounds > 1 else 2
    tasks: dict[str, Sequence[Any]] = {
        f"{scale.bulk:,} as objects": ("objects", 1, first, last),
        f"{scale.bulk:,} as rows": ("rows", 1, first, last),
        "latest of one video": ("latest", repeated, head_file.video(7)),
        f"latest of {len(videos):,}": ("latest_of", 1, videos),
        "a whole run": ("whole_run", max(repeated // 10, 1), RUN_ID),
    }
    columns = []
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, path)) for name in WHO}
        for worker in workers.values():
            worker.answer()
            for task in SMALLEST:  # with the imports and caches of the first time
                _ask(worker, task)
        for task in tasks.values():
            works = {name: partial(_ask, worker, task) for name, worker in workers.items()}
            columns.append(_column(in_turn(rounds, works)))
    return Table(
        f"Reading, {size:,} snapshots in the table ({head_file.size(path) / 2**20:,.0f} MiB); ms",
        ["", *tasks],
        [[PEERS[name].name, *(column[name] for column in columns)] for name in WHO],
    )


def _ask(worker: Worker, task: Sequence[Any]) -> dict[str, Any]:
    worker.ask("task", *task)
    answer: dict[str, Any] = worker.answer()
    return answer


def _column(answers: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, str]:
    """Return the cells of one task, once all have given the same answer.

    Raises:
        RuntimeError: They have not.
    """
    given = {one["answer"] for of_it in answers.values() for one in of_it if "answer" in one}
    if len(given) != 1:
        raise RuntimeError(f"the peers do not agree: {answers}")
    taken = {
        name: [one["seconds"] for one in of_it]
        for name, of_it in answers.items()
        if "seconds" in of_it[0]
    }
    digits = 0 if statistics.median(taken["shortsdb"]) > _WHOLE_MILLISECONDS_FROM else 2
    return {
        name: with_ratio(taken[name], taken["shortsdb"], digits)
        if name in taken
        else of_it[0]["cannot"]
        for name, of_it in answers.items()
    }
