"""What a session costs: short reads."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import head_file
import sqlalchemy
from measure import Scale, Table, in_turn, progress, seconds, with_ratio
from peers import COUNTER, RUN_ID
from sqlalchemy.orm import sessionmaker

from shortsdb.models import ConfigOverride
from shortsdb.queries import run_with_everything

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TITLE = "Sessions"

SQLALCHEMY = "SQLAlchemy, default engine"
PLAIN = "shortsdb, plain session"
READ_ONLY = "shortsdb, read-only session"

HOW = """\
Each in a process of its own, with the same models, the same queries, and the same file in WAL mode;
a new session for every read. Counted is what the caller waits."""
WHY = """\
What one row costs more, measured with each part alone: about two fifths are the class of connection
that knows whether a statement writes, two fifths the count of users that lets a fork close what is
idle, a fifth the look at whether the path still leads to the same file. All three are Python calls,
34 beside SQLAlchemy's 400, and each keeps data from being lost. A read-only session also begins a
transaction, for one snapshot, and sets and unsets `query_only`, so that not even raw SQL can
write: three statements more."""

# Of a worker process: what it reads with.
_factory: Callable[[], Any]


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure reads, below an empty folder."""
    path = folder / "sessions.db"
    head_file.make(path)
    with ExitStack() as stack:
        workers = {}
        for who in (SQLALCHEMY, PLAIN, READ_ONLY):
            # Spawned, so that a process of SQLAlchemy alone has none of shortsdb's listeners.
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(1, context, _open, (who, str(path)))
            workers[who] = stack.enter_context(pool)
        return [_reading(scale, workers)]


def _reading(scale: Scale, workers: dict[str, ProcessPoolExecutor]) -> Table:
    columns = []
    for what, times in (("one row", 200), ("a whole run", 20)):
        progress(f"{TITLE}: reading {what}")
        repeated = times if scale.rounds > 1 else 1

        def work(worker: ProcessPoolExecutor, what: str = what, times: int = repeated) -> float:
            return worker.submit(_read, what, times).result()

        works = {who: partial(work, worker) for who, worker in workers.items()}
        in_turn(1, works)  # with the caches of the first time
        columns.append(in_turn(3 * scale.rounds, works))
    rows = [
        [who, *(with_ratio(column[who], column[SQLALCHEMY], 3) for column in columns)]
        for who in workers
    ]
    return Table("Reading; ms", ["", "one row", "a whole run"], rows, [HOW, WHY])


def _open(who: str, path: str) -> None:
    """Make what a worker process reads with."""
    global _factory  # noqa: PLW0603 - of a process that does nothing else
    if who == SQLALCHEMY:
        _factory = sessionmaker(sqlalchemy.create_engine(f"sqlite:///{path}"))
        return
    from shortsdb.engine import create_engine, session_factory  # noqa: PLC0415 - adds listeners

    _factory = session_factory(create_engine(path), read_only=who == READ_ONLY)


def _read(what: str, times: int) -> float:
    """Return the seconds of one read."""

    def one_row() -> None:
        with _factory() as session:
            session.get_one(ConfigOverride, COUNTER)

    def whole_run() -> None:
        with _factory() as session:
            session.scalars(run_with_everything(RUN_ID)).one()

    return seconds(one_row if what == "one row" else whole_run, times)
