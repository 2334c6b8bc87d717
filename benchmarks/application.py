"""The application's side, beside its peers, each pair in the same run: medians and ratios.

`python benchmarks/application.py [--large]` (extra: bench). --large adds 10,000,000 rows of
analytics, some two gigabytes in the system's temporary folder and several minutes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.db import models, transaction
from sqlalchemy import DateTime, Engine, MetaData, Select, delete, insert, select, text
from sqlalchemy.orm import Session, registry

from shortsdb import queries
from shortsdb.database import init_db, record_snapshots
from shortsdb.engine import create_engine, session_factory
from shortsdb.models import Analytics, Base, ConfigOverride

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.synchronize import Barrier

START = datetime(2026, 1, 1)  # noqa: DTZ001 - the models hold naive UTC
PROCESSES = 4
TRANSACTIONS = 300  # per process
VIDEOS = 1_000


def say(line: str) -> None:
    """Print a line of the report."""
    print(line, flush=True)  # noqa: T201 - a program's output


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Return how long one call takes, on average over so many."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


def medians(rounds: int, *works: Callable[[], float]) -> list[float]:
    """Return the median of each work's figures; they take turns, so that noise hits them alike."""
    figures = [[work() for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*figures, strict=True)]


def count_by_shortsdb(path: str, barrier: Barrier) -> None:
    """Read a counter, add one and commit, as an application of shortsdb does."""
    factory = session_factory(create_engine(path))
    with factory() as session:
        session.get_one(ConfigOverride, "counter")
    barrier.wait()
    for _ in range(TRANSACTIONS):
        with factory.begin() as session:
            row = session.get_one(ConfigOverride, "counter")
            row.value = str(int(row.value) + 1)
    barrier.wait()


def count_by_django(path: str, barrier: Barrier) -> None:
    """Do the same by Django, with the same durability and timeout."""
    # SQLite's synchronous is FULL by default; the journal mode is the file's.
    options = {"transaction_mode": "IMMEDIATE", "timeout": 30}
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": options}
    settings.configure(DATABASES={"default": database}, USE_TZ=False)
    django.setup()

    class Counter(models.Model):  # type: ignore[misc] # Django has no types
        key = models.TextField(primary_key=True)
        value = models.TextField()
        updated_at = models.DateTimeField(auto_now=True)
        updated_by = models.TextField()

        class Meta:
            app_label = "benchmark"
            db_table = "config_overrides"
            managed = False

        def __str__(self) -> str:
            return str(self.value)

    Counter.objects.get(key="counter")
    barrier.wait()
    for _ in range(TRANSACTIONS):
        with transaction.atomic():
            row = Counter.objects.get(key="counter")
            row.value = str(int(row.value) + 1)
            # As SQLAlchemy does: the columns that changed.
            row.save(update_fields=["value", "updated_at"])
    barrier.wait()


def rate(
    target: Callable[[str, Barrier], None], folder: Path, processes: int, journal_mode: str
) -> float:
    """Return committed transactions per second of all processes, start-up left out."""
    path = folder / f"counter-{journal_mode}.db"
    init_db(path).dispose()
    engine = create_engine(path, pragmas={"journal_mode": journal_mode})
    with session_factory(engine).begin() as session:
        session.merge(ConfigOverride(key="counter", value="0"))
    engine.dispose()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    workers = [context.Process(target=target, args=(str(path), barrier)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    barrier.wait()
    took = seconds(barrier.wait)
    for worker in workers:
        worker.join()
    engine = create_engine(path, pragmas={"journal_mode": journal_mode})
    with session_factory(engine)() as session:
        value = int(session.get_one(ConfigOverride, "counter").value)
    engine.dispose()
    if value != processes * TRANSACTIONS:
        raise AssertionError(f"{value} of {processes * TRANSACTIONS} increments are there")
    return value / took


def transactions(folder: Path) -> None:
    """Report transactions per second beside Django's."""
    for processes in (1, PROCESSES):

        def ours(processes: int = processes) -> float:
            return rate(count_by_shortsdb, folder, processes, "WAL")

        def django_by_default(processes: int = processes) -> float:
            return rate(count_by_django, folder, processes, "DELETE")

        def django_on_wal(processes: int = processes) -> float:
            return rate(count_by_django, folder, processes, "WAL")

        own, default, wal = medians(5, ours, django_by_default, django_on_wal)
        say(
            f"read-modify-write, {processes} process(es): {own:.0f}/s, Django {default:.0f}/s, "
            f"ratio {own / default:.2f} (wanted: above 1); "
            f"Django on a file of ours, in WAL mode: {wal:.0f}/s, ratio {own / wal:.2f}"
        )


def snapshots(first: int, count: int) -> Iterator[dict[str, Any]]:
    """Make so many snapshots, of all videos in turn."""
    for number in range(first, first + count):
        yield {
            "youtube_video_id": f"video{number % VIDEOS:05}",
            "measured_at": START + timedelta(seconds=number, microseconds=number % 10**6),
            "view_count": number,
            "like_count": number // 20,
            "comment_count": 3,
            "average_view_duration_seconds": 31.5,
            "click_through_rate": 0.05,
            "subscriber_gain": 1,
            "estimated_revenue_usd": 0.25,
        }


def latest(folder: Path, sizes: list[int]) -> None:
    """Report the cost of the latest snapshot as the table grows, and beside plain Core."""
    engine = init_db(folder / "latest.db")
    table = Base.metadata.tables["analytics"]

    def core() -> Select[Any]:
        statement: Any = (
            select(table)
            .where(table.c.youtube_video_id == "video00007")
            .order_by(table.c.measured_at.desc(), table.c.id.desc())
            .limit(1)
        )
        return statement  # type: ignore[no-any-return] # SQLAlchemy 2.0 and 2.1 type it differently

    there, costs = 0, {}
    for size in sizes:
        while there < size:
            with engine.begin() as connection:
                connection.execute(insert(table), list(snapshots(there, 100_000)))
            there += 100_000
        reader = session_factory(engine, read_only=True)
        with reader() as session:

            def rows(session: Session = session) -> float:
                question = queries.latest_snapshot
                return seconds(lambda: session.scalars(question("video00007")).one(), 500)

            def columns(session: Session = session) -> float:
                run, question = session.connection().execute, queries.latest_snapshot
                return seconds(lambda: run(question("video00007")).one(), 500)

            def by_core(session: Session = session) -> float:
                run = session.connection().execute
                return seconds(lambda: run(core()).one(), 500)

            costs[size], plain, asked = medians(9, rows, by_core, columns)
        say(
            f"latest snapshot of {size:,} rows: {costs[size] * 1e6:.0f} us, "
            f"{costs[size] / costs[sizes[0]]:.2f} of {sizes[0]:,} rows (wanted: to 1.5); "
            f"Core {plain * 1e6:.0f} us, the question on a connection {asked / plain:.2f} of it, "
            f"as a row of the model {costs[size] / plain:.2f} (wanted: to 1.3)"
        )
    engine.dispose()


def bulk(folder: Path) -> None:
    """Report the bulk insert of 100,000 snapshots beside SQLAlchemy's own with plain DateTime."""
    engine = init_db(folder / "bulk.db")
    table = Base.metadata.tables["analytics"].to_metadata(MetaData())
    table.c.measured_at.type = DateTime()

    class Plain:
        """Analytics with a plain DateTime."""

    registry().map_imperatively(Plain, table)
    rows: list[Any] = list(snapshots(0, 100_000))

    def orm(model: type) -> float:
        return inserted(engine, lambda session: session.execute(insert(model), rows))

    ours, model, plain, core = medians(
        7,
        lambda: inserted(engine, lambda session: record_snapshots(session, rows)),
        lambda: orm(Analytics),
        lambda: orm(Plain),
        lambda: inserted(engine, lambda session: session.execute(insert(table), rows)),
    )
    say(
        f"bulk insert of 100,000 snapshots: insert(Analytics) {model:.2f} s, with plain DateTime "
        f"{plain:.2f} s, speed {plain / model:.2f} (wanted: from 0.9); record_snapshots "
        f"{ours:.2f} s, Core with plain DateTime {core:.2f} s, speed {core / ours:.2f} (from 0.9)"
    )
    engine.dispose()


def inserted(engine: Engine, work: Callable[[Session], object]) -> float:
    """Return how long `work` takes on an empty table, with its commit."""
    with session_factory(engine)() as session:
        session.execute(delete(Analytics))
        session.commit()
        session.connection().execute(text("SELECT 1"))

        def run() -> None:
            work(session)
            session.commit()

        return seconds(run)


def imports() -> None:
    """Report what importing the models costs beside sqlalchemy.orm."""

    def cost(module: str) -> float:
        return seconds(
            lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)  # noqa: S603 - of the two modules below
        )

    ours, theirs = medians(21, lambda: cost("shortsdb.models"), lambda: cost("sqlalchemy.orm"))
    say(
        f"import shortsdb.models: {ours * 1e3:.0f} ms, sqlalchemy.orm {theirs * 1e3:.0f} ms, "
        f"ratio {ours / theirs:.3f} (wanted: to 1.10)"
    )


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description="The application's side, beside its peers.")
    parser.add_argument("--large", action="store_true", help="10,000,000 rows of analytics, too")
    sizes = [100_000, 1_000_000]
    if parser.parse_args().large:
        sizes.append(10_000_000)
    with tempfile.TemporaryDirectory() as folder:
        imports()
        transactions(Path(folder))
        bulk(Path(folder))
        latest(Path(folder), sizes)


if __name__ == "__main__":
    main()
