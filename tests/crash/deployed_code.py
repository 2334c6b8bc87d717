"""The deployed pipeline as a program: reads and writes until it is stopped.

It uses the three tables, without shortsdb. It prints a line when it has begun, and JSON at the end:
the acknowledged rows, the errors, and the duration of the longest transaction.

Usage: deployed_code.py raw|orm|reader PATH NAME; it ends at EOF on standard input.
"""

from __future__ import annotations

import json
import random
import select
import sqlite3
import sys
import time
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, String, create_engine, func
from sqlalchemy import select as sql_select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 5, 6, 12)  # noqa: DTZ001 - deployed code stores naive UTC
LONGEST_PAUSE = 0.02
# The number of rows that each writer inserts in one transaction.
ROWS_OF = {"raw": 200, "orm": 3}


class Base(DeclarativeBase):
    """The base of the deployed models."""


class PipelineRun(Base):
    """A run, as deployed code declares it."""

    __tablename__ = "pipeline_runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    niche: Mapped[str] = mapped_column(String)
    cycle_start: Mapped[datetime]
    cycle_end: Mapped[datetime]
    status: Mapped[str]
    error_message: Mapped[str | None]
    retry_count: Mapped[int]


class DiscoveredVideo(Base):
    """A video, as deployed code declares it."""

    __tablename__ = "discovered_videos"
    id: Mapped[int] = mapped_column(primary_key=True)
    video_id: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    channel_name: Mapped[str]
    channel_id: Mapped[str]
    url: Mapped[str]
    niche: Mapped[str]
    discovered_at: Mapped[datetime]
    processed: Mapped[int]
    content_id_risk: Mapped[str]


class Clip(Base):
    """A clip, as deployed code declares it."""

    __tablename__ = "clips"
    id: Mapped[int] = mapped_column(primary_key=True)
    pipeline_run_id: Mapped[int] = mapped_column(ForeignKey("pipeline_runs.id"))
    discovered_video_id: Mapped[int] = mapped_column(ForeignKey("discovered_videos.id"))
    rank_position: Mapped[int]
    start_time_seconds: Mapped[float]
    end_time_seconds: Mapped[float]
    clip_duration_seconds: Mapped[float]
    content_id_risk: Mapped[str]


def raw_writer(path: str, name: str) -> Callable[[int], None]:
    """Return a function that inserts runs by SQL, on a new connection with sqlite3's timeout."""

    def write(number: int) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany(
                "INSERT INTO pipeline_runs (niche, cycle_start, cycle_end, status, retry_count)"
                " VALUES (?, ?, ?, 'pending', ?)",
                [(name, str(NOON), str(NOON), number)] * ROWS_OF["raw"],
            )

    return write


def orm_writer(path: str, name: str) -> Callable[[int], None]:
    """Return a function that inserts and updates a run with a video and a clip by the ORM."""
    engine = create_engine(f"sqlite:///{path}")

    def write(number: int) -> None:
        with Session(engine) as session:
            run = PipelineRun(
                niche=name, cycle_start=NOON, cycle_end=NOON, status="pending", retry_count=number
            )
            video = DiscoveredVideo(
                video_id=f"{name}-{number}",
                title="標題",
                channel_name="Ü",
                channel_id="UC",
                url="u",
                niche=name,
                discovered_at=NOON,
                processed=0,
                content_id_risk="low",
            )
            session.add_all([run, video])
            session.flush()
            session.add(
                Clip(
                    pipeline_run_id=run.id,
                    discovered_video_id=video.id,
                    rank_position=1,
                    start_time_seconds=0.5,
                    end_time_seconds=1.5,
                    clip_duration_seconds=1.0,
                    content_id_risk="low",
                )
            )
            run.status = "approved"
            session.commit()

    return write


def reader(path: str, _name: str) -> Callable[[int], None]:
    """Return a function that reads like the Telegram bot and the uploader."""
    engine = create_engine(f"sqlite:///{path}")

    def read(_number: int) -> None:
        with Session(engine) as session:
            session.scalar(sql_select(func.count(Clip.id)))
            session.scalars(sql_select(PipelineRun).order_by(PipelineRun.id.desc()).limit(20)).all()

    return read


def main() -> None:
    kind, path, name = sys.argv[1:]
    act = {"raw": raw_writer, "orm": orm_writer, "reader": reader}[kind](path, name)
    rng = random.Random(name)  # noqa: S311 - reproducible, not secret
    acknowledged: list[int] = []
    errors: list[str] = []
    longest = 0.0
    number = 0
    # EOF on standard input ends the pause between two transactions early.
    while not select.select([sys.stdin], [], [], rng.uniform(0, LONGEST_PAUSE))[0]:
        number += 1
        began = time.monotonic()
        try:
            act(number)
        except Exception as error:  # noqa: BLE001 - any error of deployed code is a finding
            errors.append(repr(error))
        else:
            acknowledged.append(number)
        longest = max(longest, time.monotonic() - began)
        if number == 1:
            print("begun", flush=True)  # noqa: T201 - standard output is the harness's
    report = {"acknowledged": acknowledged, "errors": errors, "longest": longest}
    print(json.dumps(report))  # noqa: T201 - as above


if __name__ == "__main__":
    main()
