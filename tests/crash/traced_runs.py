"""Run a job in a forked process, under strace if a system call is to fail or to kill it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from run_spec import Job

KILLED = -9
# strace ends after the process that it traces.
STRACE_TIMEOUT = 60


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: its exit code, negative for a signal, and its output."""

    code: int
    output: str


class ForkServer:
    """The process that forks the runs."""

    def __enter__(self) -> Self:
        """Start the process."""
        script = Path(__file__).with_name("fork_server.py")
        # Settings of the user must not affect the runs.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SHORTSDB_")}
        self._process = subprocess.Popen(
            [sys.executable, script],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process."""
        self._process.communicate()

    def start(self, job: Job) -> int:
        """Fork a process for the job and return its id; it waits to be released."""
        pid: int = self._ask(start=asdict(job))
        return pid

    def release(self, pid: int) -> None:
        """Let the process start its job."""
        self._ask(release=pid)

    def wait(self, pid: int) -> int:
        """Wait for the end of the process and return its exit code."""
        code: int = self._ask(wait=pid)
        return code

    def run(self, job: Job, strace: Sequence[str] = ()) -> Outcome:
        """Run the job, under strace if there are arguments for it."""
        pid = self.start(job)
        tracer = _attach(pid, strace) if strace else None
        self.release(pid)
        code = self.wait(pid)
        if tracer is not None:
            tracer.communicate(timeout=STRACE_TIMEOUT)
        output = Path(job.output)
        text = output.read_text(encoding="utf-8") if output.exists() else ""
        return Outcome(code, text)

    def _ask(self, **request: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())


def _attach(pid: int, arguments: Sequence[str]) -> subprocess.Popen[str]:
    try:
        tracer = subprocess.Popen(
            ["strace", "-f", *arguments, "-p", str(pid)],  # noqa: S607 - wherever it is installed
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    except FileNotFoundError as error:
        raise RuntimeError("strace is not installed: apt-get install strace") from error
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    if "attached" not in said:
        raise RuntimeError(f"strace cannot trace: {said}{tracer.communicate()[1]}")
    return tracer
