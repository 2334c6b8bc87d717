"""What a session costs: short reads."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import head_file
import sqlalchemy
from measure import Scale, Table, in_turn, progress, seconds, with_ratio
from peers import COUNTER, RUN_ID
from sqlalchemy.orm import sessionmaker

from shortsdb.models import ConfigOverride
from shortsdb.queries import run_with_everything

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

TITLE = "Sessions"

SQLALCHEMY = "SQLAlchemy, default engine"
PLAIN = "shortsdb, plain session"
READ_ONLY = "shortsdb, read-only session"

HOW = """\
With the same models, the same queries, and the same file in WAL mode; a new session for every read.
Counted is what the caller waits. Each figure is of a new process: where its objects lie in memory
makes all reads of a process a few percent quicker or slower."""
WHY = """\
What one row costs more, measured with each part alone: about two fifths are the class of connection
that knows whether a statement writes, two fifths the count of users that lets a fork close what is
idle, a fifth the look at whether the path still leads to the same file. All three are Python calls,
34 beside SQLAlchemy's 400, and each keeps data from being lost. A read-only session also begins a
transaction, for one snapshot, and sets and unsets `query_only`, so that not even raw SQL can
write: three statements more."""


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure reads, below an empty folder."""
    path = folder / "sessions.db"
    head_file.make(path)
    # Spawned, so that a process of SQLAlchemy alone has none of shortsdb's listeners.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as worker:
        return [_reading(scale, worker, path)]


def _reading(scale: Scale, worker: ProcessPoolExecutor, path: Path) -> Table:
    columns = []
    for what, times in (("one row", 200), ("a whole run", 20)):
        progress(f"{TITLE}: reading {what}")
        repeated = times if scale.rounds > 1 else 1

        def work(who: str, what: str = what, times: int = repeated) -> float:
            return worker.submit(_read, who, path, what, times).result()

        works = {who: partial(work, who) for who in (SQLALCHEMY, PLAIN, READ_ONLY)}
        columns.append(in_turn(3 * scale.rounds, works))
    rows = [
        [who, *(with_ratio(column[who], column[SQLALCHEMY], 3) for column in columns)]
        for who in (SQLALCHEMY, PLAIN, READ_ONLY)
    ]
    return Table("Reading; ms", ["", "one row", "a whole run"], rows, [HOW, WHY])


def _read(who: str, path: Path, what: str, times: int) -> float:
    """Return the seconds of one read, in a process that does nothing else."""
    factory = _factory(who, path)

    def one_row() -> None:
        with factory() as session:
            session.get_one(ConfigOverride, COUNTER)

    def whole_run() -> None:
        with factory() as session:
            session.scalars(run_with_everything(RUN_ID)).one()

    work = one_row if what == "one row" else whole_run
    seconds(work, times)  # with the caches of the first time
    return seconds(work, times)


def _factory(who: str, path: Path) -> sessionmaker[Session]:
    if who == SQLALCHEMY:
        return sessionmaker(sqlalchemy.create_engine(f"sqlite:///{path}"))
    from shortsdb.engine import create_engine, session_factory  # noqa: PLC0415 - adds listeners

    return session_factory(create_engine(path), read_only=who == READ_ONLY)
