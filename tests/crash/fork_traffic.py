"""Commit from a process and its fork, and check that the file has all acknowledged commits.

As a program, `python fork_traffic.py FILE KIND`, it is the server of such a trial: it uses an
engine, forks, and the parent exits, as in a process that becomes a daemon. The child commits one
row for each line on standard input and answers with its key. KIND is shortsdb, sqlalchemy (a plain
engine) or new_pool (a plain engine whose pool the child replaces, as SQLAlchemy recommends).
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import text

from shortsdb.engine import create_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

INSERT = text("INSERT INTO config_overrides (key, value) VALUES (:key, 'x')")


@dataclass(frozen=True)
class Result:
    """The contents of the file after all processes of a trial have ended."""

    acknowledged: set[str]
    missing: set[str]
    damage: str


def commit(engine: Engine, key: str) -> str:
    """Commit a row and return its key as the acknowledgement."""
    with engine.begin() as connection:
        connection.execute(INSERT, {"key": key})
    return key


def look(path: Path) -> None:
    """Open the file, read, and close it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT count(*) FROM config_overrides").fetchone()


def found(path: Path, acknowledged: set[str]) -> Result:
    """Compare the file with the acknowledged commits."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            keys = {key for (key,) in connection.execute("SELECT key FROM config_overrides")}
            (damage,) = connection.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.DatabaseError as error:
        return Result(acknowledged, acknowledged, str(error))
    return Result(acknowledged, acknowledged - keys, "" if damage == "ok" else damage)


def daemon_trial(
    path: Path,
    kind: str,
    *,
    rounds: int,
    ended_by: signal.Signals,
    visit: Callable[[Path], None] = look,
) -> Result:
    """Let a daemonised process commit, visit the file after every five commits, end the process.

    Args:
        path: A file at head.
        kind: The kind of engine, as for the program.
        rounds: The number of rounds of five commits.
        ended_by: The signal that ends the process.
        visit: The action of another program on the file after each round.
    """
    program = [sys.executable, __file__, str(path), kind]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert server.wait() == 0, "the parent of the daemon failed"
        acknowledged = {"parent"}
        for _ in range(rounds):
            for _ in range(5):
                server.stdin.write("commit\n")
                server.stdin.flush()
                answer = server.stdout.readline().strip()
                assert answer, "the daemon has ended"
                acknowledged.add(answer)
            visit(path)
        os.kill(pid, ended_by)
        # The daemon is not a child of this process; EOF on its output means that it has ended.
        assert server.stdout.read() == ""
    return found(path, acknowledged)


def serve(path: Path, kind: str) -> None:
    """Run the daemon, see the module."""
    engine = (
        create_engine(path) if kind == "shortsdb" else sqlalchemy.create_engine(f"sqlite:///{path}")
    )
    if kind != "shortsdb":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    commit(engine, "parent")
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    # Exit normally on SIGTERM; the commits of the kind shortsdb must be safe without this too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A program started in the background, for example by nohup, inherits an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if kind == "new_pool":
        engine.dispose(close=False)
    print(os.getpid(), flush=True)  # noqa: T201 - read by the trial
    try:
        for number, _ in enumerate(iter(sys.stdin.readline, "")):
            print(commit(engine, f"child{number}"), flush=True)  # noqa: T201 - as above
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
