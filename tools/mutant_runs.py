"""Runs of pytest on mutants, in a copy of the checkout."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from hashlib import sha256
from importlib import import_module
from itertools import count
from pathlib import Path
from select import select
from typing import TYPE_CHECKING

import pytest
from cosmic_ray.mutating import mutate_code
from cosmic_ray.util import restore_contents
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult
from coverage import CoverageData
from mutant_operators import OPERATORS
from mutant_places import ROOT, Mutant, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

COPIED = ("src", "alembic", "tests", "tools", "alembic.ini", "pyproject.toml")
# What the tests import that is not ours, once instead of for each mutant.
PRELOADED = ("alembic.command", "click.testing", "psycopg", "sqlalchemy.ext.asyncio")
# A mutant may allocate without end, and the machine is not only ours.
MEMORY = 8 << 30
# Seconds that the tests of a module may take without a mutant.
HANG = 300

log = logging.getLogger("mutants")


@dataclass(frozen=True)
class Tests:
    """The tests of a module, which take `seconds`; `covering` has those that run each line."""

    files: list[str]
    seconds: float
    covering: dict[int, list[str]]

    def selections(self, mutant: Mutant) -> Iterator[list[str]]:
        """Yield the tests that run the changed lines, then all: programs are not measured."""
        lines = range(mutant.start[0], mutant.end[0] + 1)
        names = {test.partition("|")[0] for line in lines for test in self.covering.get(line, ())}
        if names and all(names):
            yield sorted(names, key=self._cost)
        yield self.files

    def _cost(self, test: str) -> tuple[bool, int, str]:
        # A server takes two seconds to start.
        return "[postgresql" in test, self.files.index(test.partition("::")[0]), test


class Workshop:
    """A copy of the checkout in which tests run, and all that they start ends."""

    def __init__(self, folder: Path, results: Path) -> None:
        """Copy the checkout to a folder, and make it what this process and its programs import."""
        self._coverage = results / "coverage"
        self._tmp = folder / "tmp"
        self._tree = folder / "tree"
        self._moments = count(int(time.time()))
        # The server of the tests is run by another user.
        folder.chmod(0o755)
        self._tmp.mkdir()
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self._tree / name)
        os.environ |= {"PYTHONPATH": str(self._tree / "src"), "TMPDIR": str(self._tmp)}
        tempfile.tempdir = str(self._tmp)
        sys.path.insert(0, str(self._tree / "src"))
        os.chdir(self._tree)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for module in PRELOADED:
            import_module(module)

    def run(self, arguments: list[str], timeout: float) -> tuple[bool, str]:
        """Run pytest in a fork, and return whether all tests passed, and the end of the output."""
        options = ["-x", "-q", "-m", "not (crash or peers)"]
        with (self._tree / "output").open("w+", encoding="utf-8", errors="replace") as output:
            process = os.fork()
            if not process:
                code = 1
                # If pytest raises, or a process that a test has forked comes back here, neither may
                # go on to remove the copy of the checkout.
                try:
                    os.setsid()
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    os.dup2(output.fileno(), 1)
                    os.dup2(output.fileno(), 2)
                    code = pytest.main([*options, *arguments])
                    sys.stdout.flush()
                finally:
                    os._exit(code)
            descriptor = os.pidfd_open(process)
            try:
                ended, _, _ = select([descriptor], [], [], timeout)
            finally:
                os.close(descriptor)
                with suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
                _, status = os.waitpid(process, 0)
                self._clear()
            output.seek(0)
            return bool(ended) and status == 0, output.read()[-2000:]

    def measure(self, module: str, files: list[str]) -> Tests | None:
        """Return the tests of a module and which of its lines they run, if they pass."""
        covering: defaultdict[int, list[str]] = defaultdict(list)
        total = 0.0
        for file in files:
            measured = self._measured(file)
            if measured is None:
                return None
            total += float(measured.name.rpartition("-")[2])
            data = CoverageData(str(measured))
            data.read()
            for path in data.measured_files():
                if path.endswith(f"/{path_of(module)}"):
                    for line, tests in data.contexts_by_lineno(path).items():
                        covering[line] += tests
        return Tests(files, total, covering)

    def _measured(self, file: str) -> Path | None:
        """Return what the tests of a file run, named after the file, the code and the seconds."""
        used = [*map(Path, ("src", "alembic", "tests/helpers", "tests/conftest.py")), Path(file)]
        sources = sorted({path for each in used for path in (each, *each.rglob("*.py"))})
        texts = [path.read_bytes() for path in sources if path.is_file()]
        name = f"{Path(file).stem}-{sha256(b''.join(texts)).hexdigest()[:16]}"
        if known := next(self._coverage.glob(f"{name}-*"), None):
            return known
        start = time.monotonic()
        options = ["--cov=src", "--cov=alembic", "--cov-context=test", "--cov-report="]
        passed, output = self.run([*options, file], HANG)
        if not passed:
            log.error("%s fails without any mutant:\n%s", file, output)
            return None
        self._coverage.mkdir(parents=True, exist_ok=True)
        measured = self._coverage / f"{name}-{time.monotonic() - start:.1f}"
        return Path(shutil.move(".coverage", measured))

    def try_mutant(self, mutant: Mutant, tests: Tests) -> WorkResult:
        """Run the tests of a module with one of its mutants."""
        path = path_of(mutant.module)
        source = path.read_text(encoding="utf-8")
        changed = mutate_code(source, OPERATORS[mutant.operator], mutant.occurrence)
        lines = (source.splitlines(), changed.splitlines())
        diff = "\n".join(unified_diff(*lines, str(path), str(path), lineterm=""))
        with restore_contents(path):
            path.write_text(changed, encoding="utf-8")
            # Bytecode is valid for a second and a size, which two mutants could share.
            moment = next(self._moments)
            os.utime(path, (moment, moment))
            limit = 3 * tests.seconds + 10
            runs = (self.run(arguments, limit) for arguments in tests.selections(mutant))
            killed_by = next((output for passed, output in runs if not passed), None)
        outcome = TestOutcome.SURVIVED if killed_by is None else TestOutcome.KILLED
        return WorkResult(WorkerOutcome.NORMAL, killed_by, outcome, diff)

    def _clear(self) -> None:
        """End what the tests have left running, servers too, and remove their files."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                environment = (process / "environ").read_bytes()
                # PostgreSQL's processes write their titles over their environment.
                folder = (process / "cwd").readlink()
                if os.fsencode(self._tmp) in environment or folder.is_relative_to(self._tmp):
                    os.kill(int(process.name), signal.SIGKILL)
        shutil.rmtree(self._tmp, ignore_errors=True)
        self._tmp.mkdir(exist_ok=True)
