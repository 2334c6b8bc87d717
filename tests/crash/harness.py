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
    """A case, the folder with its start, its two states, and what an undisturbed run does."""

    case: Case
    template: Path
    old: State
    new: State
    backed_up: list[State]
    """The states of the backups that the start has beside it."""
    backs_up: bool
    """Whether the run leaves a backup of the old state."""
    leaves: list[State]
    """The states of all backups that are there after the run."""
    statements: int
    calls: list[Call]


@dataclass(frozen=True)
class Blow:
    """What befalls a run: death before a statement, or strace's injection into a system call."""

    kill_before: int = 0
    inject: str = ""

    def __str__(self) -> str:
        """Return how to strike it again."""
        return self.inject or f"killed before statement {self.kill_before}"


class Bench:
    """A place to run cases in, with a process of its own to fork the runs."""

    def __init__(self, root: Path, figures: Figures) -> None:
        """Work below the folder `root`, which exists, and count into `figures`."""
        self.root = root
        self.figures = figures
        self._runs = 0

    def __enter__(self) -> Self:
        """Start the process that forks."""
        self.fork_server = ForkServer().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Let it end."""
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
        """Make the start of a case and run it undisturbed, to learn what it becomes and does."""
        template = self.root / "templates" / str(len(list(self.root.glob("templates/*"))))
        template.mkdir(parents=True)
        make_start(case, template)
        folder = self.fresh(template)
        old = read_state(folder / DATABASE)
        folder = self.fresh(template)
        trace = self.root / "trace"
        outcome = self.fork_server.run(self.job(case, folder), ["-o", str(trace), *RECORD])
        if outcome.code != 0:
            raise RuntimeError(f"{case} fails undisturbed: {outcome.output}")
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
        """Return a new folder with a copy of the start."""
        folder = self.empty()
        shutil.copytree(template, folder, dirs_exist_ok=True)
        return folder

    def empty(self) -> Path:
        """Return a new empty folder; the one before goes."""
        shutil.rmtree(self.root / f"run{self._runs}", ignore_errors=True)
        self._runs += 1
        folder = self.root / f"run{self._runs}"
        folder.mkdir()
        return folder

    def strike(self, family: str, prepared: Prepared, blow: Blow) -> None:
        """Run the case under the blow and judge what is left."""
        folder = self.fresh(prepared.template)
        name = blow.inject.partition(":")[0]
        strace = ["-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={blow.inject}"]
        outcome = self.fork_server.run(
            self.job(prepared.case, folder, blow.kill_before), strace if name else ()
        )
        mortal = not name or "SIGKILL" in blow.inject
        # A process that lived through its killing is judged all the same, but is no kill point.
        if outcome.code == KILLED or not mortal:
            self.figures.point(family)
        self.judge(family, prepared, folder, str(blow), outcome)

    def judge(
        self,
        family: str,
        prepared: Prepared,
        folder: Path,
        blow: str,
        outcome: Outcome | None = None,
    ) -> None:
        """Look for half states, lost rows and lies in the folder, then run the command plainly.

        Args:
            family: What to count the findings under.
            prepared: The case.
            folder: Where the database is.
            blow: What befell it.
            outcome: How the run ended, if it did.
        """

        def find(kind: str, detail: str) -> None:
            self.figures.find(family, kind, f"{prepared.case}; {blow}: {detail}")

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
            find(BACKUPS, "it is new, and there is no backup of the old")
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
        yield UNTRUE, "it ended well and is not new"
    changed = state == prepared.new != prepared.old
    if changed and re.search("nothing was changed|is as it was", outcome.output):
        yield MESSAGES, "it said that nothing was changed, and it is new"


def complete_backups(folder: Path) -> list[Path]:
    """Return the backups beside a database that bear their final names."""
    return sorted((folder / "backups").glob("*.db"))
