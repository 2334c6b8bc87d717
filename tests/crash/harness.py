"""Run migrations with single faults, and check the database after each."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cases import DATABASE, Case, make_start
from database_state import State, examine, read_state
from figures import BACKUPS, MESSAGES, SECOND_RUNS, TRACEBACKS, UNTRUE, Figures
from run_spec import Job
from system_calls import RECORD, Call, read_trace, touching
from traced_runs import KILLED, ForkServer, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Prepared:
    """A case, the folder with its starting point, its two states, and a record of a normal run."""

    case: Case
    template: Path
    old: State
    new: State
    backed_up: list[State]
    """The states of the backups that exist before the run."""
    backs_up: bool
    """Whether the run leaves a backup of the old state."""
    leaves: list[State]
    """The states of all backups that exist after the run."""
    statements: int
    calls: list[Call]


@dataclass(frozen=True)
class Fault:
    """A fault in a run: SIGKILL before a statement, or strace's injection into a system call."""

    kill_before: int = 0
    inject: str = ""

    def __str__(self) -> str:
        """Return how to reproduce the fault."""
        return self.inject or f"killed before statement {self.kill_before}"


class Harness:
    """Runs cases in temporary folders, in processes forked by a fork server."""

    def __init__(self, root: Path, figures: Figures) -> None:
        """Use the existing folder `root`, and count into `figures`."""
        self.root = root
        self.figures = figures
        self._runs = 0

    def __enter__(self) -> Self:
        """Start the fork server."""
        self.fork_server = ForkServer().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the fork server."""
        self.fork_server.__exit__()

    def job(self, case: Case, folder: Path, kill_before: int = 0) -> Job:
        """Return the job that carries out the case on the database in the folder."""
        path = str(folder / DATABASE)
        # shortsdb is given the path, the others the URL of the async driver.
        url = path if case.program in {"shortsdb", "stock"} else f"sqlite+aiosqlite:///{path}"
        return Job(
            program=case.program,
            url=url,
            command=case.command,
            arguments=[argument.format(folder=folder) for argument in case.arguments],
            output=str(self.root / "output"),
            kill_before=kill_before,
            count_into=str(self.root / "statements"),
        )

    def prepare(self, case: Case) -> Prepared:
        """Create the starting point of a case, run it without a fault, and record the run."""
        template = self.root / "templates" / str(len(list(self.root.glob("templates/*"))))
        template.mkdir(parents=True)
        make_start(case, template)
        folder = self.fresh(template)
        old = read_state(folder / DATABASE)
        folder = self.fresh(template)
        trace = self.root / "trace"
        outcome = self.fork_server.run(self.job(case, folder), ["-o", str(trace), *RECORD])
        if outcome.code != 0:
            raise RuntimeError(f"{case} fails without a fault: {outcome.output}")
        statements = int((self.root / "statements").read_text(encoding="ascii"))
        calls = touching(read_trace(trace), folder)
        new = read_state(folder / DATABASE)
        return Prepared(
            case=case,
            template=template,
            old=old,
            new=new,
            backed_up=[read_state(backup) for backup in complete_backups(template)],
            backs_up=old != new and old in map(read_state, complete_backups(folder)),
            leaves=[read_state(backup) for backup in complete_backups(folder)],
            statements=statements,
            calls=calls,
        )

    def fresh(self, template: Path) -> Path:
        """Return a new folder with a copy of the starting point."""
        folder = self.empty()
        shutil.copytree(template, folder, dirs_exist_ok=True)
        return folder

    def empty(self) -> Path:
        """Return a new empty folder, and delete the previous one."""
        shutil.rmtree(self.root / f"run{self._runs}", ignore_errors=True)
        self._runs += 1
        folder = self.root / f"run{self._runs}"
        folder.mkdir()
        return folder

    def run_with_fault(self, family: str, prepared: Prepared, fault: Fault) -> None:
        """Run the case with the fault and check the result."""
        folder = self.fresh(prepared.template)
        name = fault.inject.partition(":")[0]
        strace = ["-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={fault.inject}"]
        outcome = self.fork_server.run(
            self.job(prepared.case, folder, fault.kill_before), strace if name else ()
        )
        kills = not name or "SIGKILL" in fault.inject
        # A run that survived its SIGKILL is checked too, but does not count as a kill point.
        if outcome.code == KILLED or not kills:
            self.figures.point(family)
        self.check(family, prepared, folder, str(fault), outcome)

    def check(
        self,
        family: str,
        prepared: Prepared,
        folder: Path,
        fault: str,
        outcome: Outcome | None = None,
    ) -> None:
        """Check for half states, lost rows and untrue messages, then run the command again.

        Args:
            family: The family that the findings count under.
            prepared: The case.
            folder: The folder of the database.
            fault: A description of the fault.
            outcome: The outcome of the run, if it ended.
        """

        def find(kind: str, detail: str) -> None:
            self.figures.find(family, kind, f"{prepared.case}; {fault}: {detail}")

        path = folder / DATABASE
        state, wrong = examine(path, [prepared.old, prepared.new])
        if wrong is not None:
            find(*wrong)
        copies = []
        for backup in complete_backups(folder):
            copy, wrong = examine(backup, [prepared.old, prepared.new, *prepared.backed_up])
            copies.append(copy)
            if wrong is not None:
                find(wrong[0], f"backup {backup.name}: {wrong[1]}")
        if state == prepared.new and prepared.backs_up and prepared.old not in copies:
            find(BACKUPS, "it is in the new state, and there is no backup of the old one")
        if outcome is not None:
            for kind, detail in _untruths(prepared, state, outcome):
                find(kind, detail)
        again = self.fork_server.run(self.job(prepared.case, folder))
        _, wrong = examine(path, [prepared.new])
        if again.code != 0 or wrong:
            find(SECOND_RUNS, f"exit code {again.code}, {wrong}: {again.output[-300:]}")


def _untruths(
    prepared: Prepared, state: State | None, outcome: Outcome
) -> Iterator[tuple[str, str]]:
    if "Traceback" in outcome.output:
        yield TRACEBACKS, outcome.output.splitlines()[-1]
    if outcome.code == 0 and state != prepared.new:
        yield UNTRUE, "the command succeeded, but the state is not the new one"
    changed = state == prepared.new != prepared.old
    if changed and re.search("nothing was changed|is as it was", outcome.output):
        yield MESSAGES, "the message says that nothing was changed, but the state is the new one"


def complete_backups(folder: Path) -> list[Path]:
    """Return the backups of a database that have their final names."""
    return sorted((folder / "backups").glob("*.db"))
