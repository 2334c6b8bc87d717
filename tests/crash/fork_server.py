"""A process that has imported everything, and forks one run of a migration for each request.

A new process for each run would spend ten times as long on imports as on the migration. Requests
and answers are lines of JSON; traced_runs.ForkServer writes and reads them.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import alembic.config
from alembic import command
from run_spec import Job
from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import create_async_engine

import shortsdb.cli
from shortsdb.migration import MigrationRefused
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ANY_PROCESS = ctypes.c_ulong(-1)
PR_SET_PTRACER = 0x59616D61
LONGEST_STALL = 0.005


def run_shortsdb(job: Job) -> None:
    shortsdb.cli.main([job.command, *job.arguments, "--url", job.url])


def run_alembic(job: Job) -> None:
    revisions = [argument for argument in job.arguments if argument != "--yes"]
    ini = str(ROOT / "alembic.ini")
    alembic.config.main(["-c", ini, "-x", f"url={job.url}", job.command, *revisions])


def run_async(job: Job) -> None:
    def migrate(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        getattr(command, job.command)(config, job.arguments[0])

    async def main() -> None:
        engine = create_async_engine(job.url)
        try:
            async with engine.connect() as connection:
                await connection.run_sync(migrate)
        finally:
            await engine.dispose()

    try:
        asyncio.run(main())
    except MigrationRefused as refusal:
        sys.exit(str(refusal))


def run_stock(job: Job) -> None:
    environment = Path(job.output).with_name("stock")
    environment.mkdir(exist_ok=True)
    shutil.copy(HERE / "stock_env.py", environment / "env.py")
    config = alembic.config.Config()
    config.set_main_option("script_location", str(environment))
    config.set_main_option("version_locations", str(ROOT / "alembic" / "versions"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", f"sqlite:///{job.url}")
    getattr(command, job.command)(config, job.arguments[0])


PROGRAMS: dict[str, Callable[[Job], None]] = {
    "shortsdb": run_shortsdb,
    "alembic": run_alembic,
    "async": run_async,
    "stock": run_stock,
}


class Statements:
    """Counts the statements of this process, delays them, and kills it before the chosen one."""

    def __init__(self, job: Job) -> None:
        """Start counting."""
        self.count = 0
        self._job = job
        self._rng = random.Random(job.stall)  # noqa: S311 - reproducible, not secret
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "commit", self._before)

    def _before(self, *_: object) -> None:
        self.count += 1
        if self.count == self._job.kill_before:
            die()
        if self._job.stall is not None:
            # The delay is part of the test: it lets other processes run in between.
            threading.Event().wait(self._rng.uniform(0, LONGEST_STALL))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def be(job: Job, gate: int) -> NoReturn:
    """Wait at the gate, run the job, and exit without the fork server's clean-up."""
    if sys.platform == "linux":
        # Allow strace to attach to this process even if Yama restricts ptrace to ancestors.
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY_PROCESS, 0, 0, 0)
    os.read(gate, 1)
    output = os.open(job.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    statements = Statements(job)
    try:
        PROGRAMS[job.program](job)
        code: object = 0
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            sys.stderr.write(code + "\n")
    except BaseException:  # noqa: BLE001 - the harness must see any error
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if job.count_into is not None:
        Path(job.count_into).write_text(str(statements.count), encoding="ascii")
    if job.kill_at_end:
        die()
    os._exit(code & 0xFF if isinstance(code, int) else 1)


def serve() -> None:
    gates: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer = None
        if "start" in request:
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                be(Job(**request["start"]), reader)
            os.close(reader)
            gates[pid] = writer
            answer = pid
        elif "release" in request:
            os.write(gates[request["release"]], b"!")
        elif "wait" in request:
            pid = request["wait"]
            answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.close(gates.pop(pid))
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer to the harness


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        # A first migration makes SQLAlchemy and Alembic import and cache what they need.
        command.upgrade(alembic_config(str(Path(folder) / "warm.db")), "head")
    gc.freeze()
    serve()
