"""Makes small mistakes in the modules that keep promises, and lists those that no test notices.

    make mutants MODULES="sqlite/backup engine" SAMPLE=12

Each mutant is one change by one operator of mutation_operators.py. It is made in a copy of the
checkout, where pytest then runs the tests that tools/mutants.toml lists for the module. A test that
fails, or does not end, kills the mutant. Results are kept in build/mutants/session.sqlite, a
session of Cosmic Ray, and the next run tries the rest. Remove the folder to begin again.
"""

from __future__ import annotations

import argparse
import ast
import logging
import os
import resource
import shutil
import signal
import sys
import time
import tomllib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from hashlib import sha256
from importlib import import_module
from itertools import count
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.util import restore_contents
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult
from coverage import CoverageData
from mutation_operators import OPERATORS, Position

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "mutants"
MAP = ROOT / "tools" / "mutants.toml"
COPIED = ("src", "alembic", "tests", "tools", "alembic.ini", "pyproject.toml")

# What the tests import that is not ours, once instead of for each mutant.
PRELOADED = ("alembic.command", "click.testing", "psycopg", "sqlalchemy.ext.asyncio")
# A mutant may allocate without end, and the machine is not only ours.
MEMORY = 8 << 30
# Seconds that the tests of a module may take without a mutant.
HANG = 300

log = logging.getLogger("mutants")


@dataclass(frozen=True)
class Mutant:
    """A change of a module: the operator, and the line, which is the `number`-th like it."""

    module: str
    operator: str
    definition: str
    line: str
    number: int
    occurrence: int
    start: Position
    end: Position

    @property
    def key(self) -> str:
        """What names the mutant as long as its line and function stay, wherever they move."""
        text = f"{self.module}:{self.definition}:{self.operator}:{self.number}:{self.line}"
        return sha256(text.encode()).hexdigest()[:16]

    def specification(self) -> MutationSpec:
        """Return what a session of Cosmic Ray keeps."""
        return MutationSpec(
            module_path=path_of(self.module),
            operator_name=f"shortsdb/{self.operator}",
            occurrence=self.occurrence,
            start_pos=self.start,
            end_pos=self.end,
            definition_name=self.definition,
        )


def path_of(module: str) -> Path:
    """Return the file of a module, relative to the checkout."""
    return Path("alembic/env.py" if module == "env" else f"src/shortsdb/{module}.py")


def _noise(source: str) -> Iterator[tuple[Position, Position]]:
    """Yield the places whose mutants would change nothing, or only what is logged."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case (
                ast.arg(annotation=ast.expr() as noise)
                | ast.FunctionDef(returns=ast.expr() as noise)
                | ast.AsyncFunctionDef(returns=ast.expr() as noise)
                | ast.AnnAssign(annotation=noise)
                | (ast.If(test=ast.Name(id="TYPE_CHECKING")) as noise)
                | (ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name("log")))) as noise)
                | (ast.Call(func=ast.Name(id="dataclass")) as noise)
            ):
                end = (noise.end_lineno or 0, noise.end_col_offset or 0)
                yield (noise.lineno, noise.col_offset), end


def mutants(module: str) -> Iterator[Mutant]:
    """Yield the mutants of a module."""
    source = (ROOT / path_of(module)).read_text(encoding="utf-8")
    lines = source.splitlines()
    nodes = list(ast_nodes(get_ast(source)))
    noise = list(_noise(source))
    for name, operator in OPERATORS.items():
        seen: Counter[tuple[str, str]] = Counter()
        places = ((node, *place) for node in nodes for place in operator.mutation_positions(node))
        for occurrence, (node, start, end) in enumerate(places):
            # The * that begins the keyword-only parameters is no operator.
            if node.parent and node.parent.type in {"parameters", "lambdef"}:
                continue
            if any(first <= start and end <= last for first, last in noise):
                continue
            definition = ASTQuery(node).get_definition_name() or ""
            line = lines[start[0] - 1].strip()
            number = seen[definition, line]
            seen[definition, line] += 1
            yield Mutant(module, name, definition, line, number, occurrence, start, end)


class Settings:
    """What tools/mutants.toml says."""

    def __init__(self) -> None:
        """Read the file."""
        read = tomllib.loads(MAP.read_text(encoding="utf-8"))
        self.tests = {
            module: [f"tests/{name}" for name in names] for module, names in read["tests"].items()
        }
        self.equivalent: list[dict[str, Any]] = read.get("equivalent", [])

    def modules(self, wanted: list[str]) -> list[str]:
        """Return the modules that are named, or are in a folder that is; all if none is named."""
        unknown = [name for name in wanted if not any(_within(each, name) for each in self.tests)]
        if unknown:
            raise SystemExit(f"{MAP.name} has no tests of {', '.join(unknown)}")
        return [each for each in self.tests if not wanted or any(_within(each, n) for n in wanted)]

    def is_equivalent(self, mutant: Mutant) -> bool:
        """Return whether the mutant is listed as one that behaves as the module does."""
        named = vars(mutant).items()
        return any(
            entry.items() - {("reason", entry["reason"])} <= named for entry in self.equivalent
        )


def _within(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}/")


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

    def __init__(self, folder: Path) -> None:
        """Copy the checkout, and make it what this process and its programs import."""
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
        sys.path.insert(0, str(self._tree / "src"))
        os.chdir(self._tree)
        for module in PRELOADED:
            import_module(module)

    def run(self, arguments: list[str], timeout: float) -> tuple[bool, str]:
        """Run pytest in a fork, and return whether all tests passed, and the end of the output."""
        options = ["-x", "-q", "-m", "not (crash or peers)"]
        with (self._tree / "output").open("w+", encoding="utf-8", errors="replace") as output:
            process = os.fork()
            if not process:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                code = pytest.main([*options, *arguments])
                sys.stdout.flush()
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
        """Run the tests of a module without a mutant, and return what they cover if they pass."""
        start = time.monotonic()
        coverage = ["--cov=src", "--cov=alembic", "--cov-context=test", "--cov-report="]
        passed, output = self.run([*coverage, *files], HANG)
        if not passed:
            log.error("%s: a test fails without any mutant:\n%s", module, output)
            return None
        measured = CoverageData()
        measured.read()
        covering = measured.contexts_by_lineno(str(self._tree / path_of(module)))
        return Tests(files, time.monotonic() - start, covering)

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


class Session:
    """The results so far, in a session of Cosmic Ray."""

    def __init__(self, database: WorkDB) -> None:
        """Read the results."""
        self._database = database
        self.results: dict[str, WorkResult] = dict(database.results)

    def add(self, mutant: Mutant, result: WorkResult) -> None:
        """Keep a result."""
        if mutant.key not in self.results:
            self._database.add_work_item(WorkItem.single(mutant.key, mutant.specification()))
        self._database.set_result(mutant.key, result)
        self.results[mutant.key] = result


def try_module(
    session: Session, workshop: Workshop, chosen: list[Mutant], files: list[str], *, retry: bool
) -> None:
    """Try the mutants of a module that have no result yet, or also those that survived."""
    known = session.results
    todo = [
        mutant
        for mutant in chosen
        if mutant.key not in known or (retry and not known[mutant.key].is_killed)
    ]
    if not todo or not (tests := workshop.measure(todo[0].module, files)):
        return
    log.info("%s: %d mutants, %.0f s of tests", todo[0].module, len(todo), tests.seconds)
    for mutant in todo:
        result = workshop.try_mutant(mutant, tests)
        session.add(mutant, result)
        if not result.is_killed:
            log.info("%s survived:\n%s", mutant.operator, result.diff)


def report(listed: dict[str, list[Mutant]], session: Session, settings: Settings) -> str:
    """Return the score of each module and the diffs of the survivors, as a page."""
    rows, survivors, totals = [], [], Counter[str]()
    for module, all_mutants in listed.items():
        counts = Counter(mutants=len(all_mutants))
        for mutant in all_mutants:
            result = session.results.get(mutant.key)
            if settings.is_equivalent(mutant):
                counts["equivalent"] += 1
            elif result and result.test_outcome:
                counts[result.test_outcome.value] += 1
                if result.test_outcome == TestOutcome.SURVIVED:
                    name = f"{module}, {mutant.operator}, {mutant.number}: `{mutant.line}`"
                    survivors.append(f"{name}\n\n```diff\n{result.diff}\n```\n")
        totals += counts
        rows.append(_row(module, counts))
    head = "| module | mutants | equivalent | tried | killed | survived | score |"
    lines = [head, "| --- |" + " ---: |" * 6, *rows, _row("all", totals)]
    return "\n".join([*lines, "", *survivors])


def _row(name: str, counts: Counter[str]) -> str:
    killed, survived = counts["killed"], counts["survived"]
    tried = killed + survived
    score = f"{killed / tried:.1%}" if tried else ""
    numbers = (counts["mutants"], counts["equivalent"], tried, killed, survived)
    return f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} | {score} |"


def _sample(mutants: list[Mutant], size: int | None) -> list[Mutant]:
    """Return `size` mutants, the same each time; a larger sample contains the smaller ones."""
    return sorted(mutants, key=lambda mutant: sha256(mutant.key.encode()).digest())[:size]


def main(arguments: list[str] | None = None) -> None:
    """Try mutants, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "modules", nargs="*", help="such as sqlite/backup, or a folder; default: all"
    )
    parser.add_argument("--sample", type=int, help="how many of each module; default: all")
    parser.add_argument("--retry", action="store_true", help="try those again that survived")
    options = parser.parse_args(arguments)
    settings = Settings()
    # Without this a SIGTERM would leave the running tests behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    RESULTS.mkdir(parents=True, exist_ok=True)
    listed = {module: list(mutants(module)) for module in settings.tests}
    with use_db(RESULTS / "session.sqlite") as database, TemporaryDirectory() as folder:
        session, workshop = Session(database), Workshop(Path(folder))
        for module in settings.modules(options.modules):
            kept = [mutant for mutant in listed[module] if not settings.is_equivalent(mutant)]
            chosen = _sample(kept, options.sample)
            try_module(session, workshop, chosen, settings.tests[module], retry=options.retry)
            (RESULTS / "report.md").write_text(report(listed, session, settings), encoding="utf-8")
    log.info("build/mutants/report.md:\n%s", report(listed, session, settings).partition("\n\n")[0])


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    main()
