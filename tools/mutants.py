"""Makes small mistakes in the modules that keep promises, and lists those that no test notices.

    make mutants MODULES="sqlite/backup engine" SAMPLE=12

Each mutant is one change by one operator of mutant_operators.py. It is made in a copy of the
checkout, where pytest then runs the tests that tools/mutants.toml lists for the module. A test that
fails, or does not end, kills the mutant. Results are kept in build/mutants/session.sqlite, a
session of Cosmic Ray, and the next run tries the rest. Remove the folder to begin again.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tomllib
from collections import Counter
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkItem, WorkResult
from mutant_places import ROOT, Mutant, mutants
from mutant_runs import Workshop

RESULTS = ROOT / "build" / "mutants"
MAP = ROOT / "tools" / "mutants.toml"

log = logging.getLogger("mutants")


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
    RESULTS.mkdir(parents=True, exist_ok=True)
    listed = {module: list(mutants(module)) for module in settings.tests}
    with use_db(RESULTS / "session.sqlite") as database, TemporaryDirectory() as folder:
        session, workshop = Session(database), Workshop(Path(folder), RESULTS)
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
