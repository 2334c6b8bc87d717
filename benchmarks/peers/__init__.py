"""The libraries that an application would use, each doing the same tasks on the same tables.

Each module has a class `Peer`, made with a path to a file whose tables are there; `PEERS` names
them. A method that a peer cannot have raises `CannotError`, whose text goes into the table.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

COUNTER = "counter"
RUN_ID = 1
UNDER_A_RUN = {
    "clips": "discovered_video",
    "scripts": None,
    "tts_audio": None,
    "shorts": "clip",
    "review_logs": None,
    "error_logs": None,
}
"""The tables under a run, and what each row comes with."""


class CannotError(Exception):
    """The peer has no such thing; the message says what is missing."""


class Counting(Protocol):
    """Adds one to a counter, as an application changes a setting by what it is."""

    def increment(self, key: str = COUNTER, think: float = 0) -> None:
        """Read a counter, think for so many seconds, add one, commit."""

    async def increment_async(self, key: str = COUNTER, think: float = 0) -> None:
        """Do the same in a task of asyncio."""

    async def close_async(self) -> None:
        """Let go of what increment_async has opened."""


class Peer(Counting, Protocol):
    """What the benchmarks ask of a library; every answer must be the same for all."""

    def insert(self, snapshots: Sequence[dict[str, Any]]) -> None:
        """Write snapshots and commit."""

    def objects(self, first: int, last: int) -> int:
        """Read the snapshots with these ids as objects, and return how many there are."""

    def rows(self, first: int, last: int) -> int:
        """Read them as rows."""

    def latest(self, video: str) -> int | None:
        """Return the views in the latest snapshot of a video, None if it has none."""

    def latest_of(self, videos: Sequence[str]) -> int:
        """Return the sum of the views in the latest snapshots of videos."""

    def whole_run(self, run_id: int) -> int:
        """Read a run and all under it as objects, and return how many rows those are."""


def rows_of(under: Mapping[str, Collection[Any]]) -> int:
    """Return how many rows a run is, with all under it, and the videos of its clips."""
    videos = [clip.discovered_video for clip in under["clips"]]
    return 1 + len(videos) + sum(map(len, under.values()))


@dataclass(frozen=True)
class Choice:
    """A peer and how it is set up."""

    name: str
    module: str
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)

    def open(self, path: str) -> Peer:
        """Return the peer on a file; its environment must be set."""
        peer: Peer = importlib.import_module(f"peers.{self.module}").Peer(path)
        return peer


IN_THREADS = "shortsdb-in-threads"
PLAIN = "shortsdb-plain"
# The folder src of another release, to be measured beside this one.
PREVIOUS = os.environ.get("BENCHMARK_PREVIOUS")
PEERS = {
    "shortsdb": Choice("shortsdb", "of_shortsdb"),
    IN_THREADS: Choice(
        "shortsdb, sync engine in threads", "of_shortsdb", {"BENCHMARK_SHORTSDB": "threads"}
    ),
    PLAIN: Choice("shortsdb, plain session", "of_shortsdb", {"BENCHMARK_SHORTSDB": "plain"}),
    "sqlalchemy": Choice("SQLAlchemy, default engine", "of_sqlalchemy"),
    "django": Choice("Django, default", "of_django"),
    "django-immediate": Choice(
        "Django, WAL and transaction_mode IMMEDIATE",
        "of_django",
        {"BENCHMARK_DJANGO": "immediate"},
    ),
    "peewee": Choice("Peewee, default", "of_peewee"),
    "peewee-immediate": Choice(
        'Peewee, `atomic("IMMEDIATE")`', "of_peewee", {"BENCHMARK_PEEWEE": "IMMEDIATE"}
    ),
    "sqlmodel": Choice("SQLModel", "of_sqlmodel"),
    "raw": Choice("limit: sqlite3, shortsdb's PRAGMAs, BEGIN IMMEDIATE", "of_sqlite3"),
}
if PREVIOUS:
    PEERS["previous"] = Choice(
        "shortsdb, the release in BENCHMARK_PREVIOUS", "of_shortsdb", {"PYTHONPATH": PREVIOUS}
    )
