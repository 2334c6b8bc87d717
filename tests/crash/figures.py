"""Figures of the crash tests: the number of trials and failures of each family."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from database_state import HALF, ROWS

SECOND_RUNS = "failed second runs"
TRACEBACKS = "tracebacks"
BACKUPS = "missing backups"
# A reported success that left the old state, and errors in deployed code.
UNTRUE = "untrue endings"
# "Nothing was changed" although something was.
MESSAGES = "untrue messages"
# Any failure of a pytest test.
FAILED = "failed tests"
KINDS = (HALF, ROWS, SECOND_RUNS, TRACEBACKS, BACKUPS, UNTRUE, MESSAGES, FAILED)

AT_STATEMENT = "kill -9 before a statement or COMMIT"
AT_CALL = "kill -9 at a system call"
FULL = "disk full (ENOSPC)"
BROKEN = "I/O error (EIO)"
POWER = "power loss"
RACE = "16 upgrades at once, one killed"
TRAFFIC = "deployed code beside an upgrade or downgrade"
GENERATED = "generated databases"
FORKS = "commits of a process that has forked"
MUTANTS = "rebuilds that lose or change something"
FAITHFUL = "faithful rebuilds"


@dataclass
class Figures:
    """Counts points and findings by family.

    Attributes:
        points: The number of points of each family.
        findings: The family, the kind and the detail of each finding.
        longest_stall: The longest stall of deployed code, in seconds.
        rows: The number of rows whose commit was acknowledged to deployed code.
    """

    points: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, str, str]] = field(default_factory=list)
    longest_stall: float = 0.0
    rows: int = 0

    def point(self, family: str, number: int = 1) -> None:
        """Count one or more points."""
        self.points[family] += number

    def find(self, family: str, kind: str, detail: str) -> None:
        """Record a finding: its kind is one of KINDS, its detail says how to reproduce it."""
        self.findings.append((family, kind, detail))

    def add(self, others: Figures) -> None:
        """Add the figures of another process."""
        self.points += others.points
        self.findings += others.findings
        self.longest_stall = max(self.longest_stall, others.longest_stall)
        self.rows += others.rows

    def of_kind(self, kind: str) -> list[str]:
        """Return the details of all findings of a kind."""
        return [detail for _, other, detail in self.findings if other == kind]

    def report(self) -> str:
        """Return the findings, one for each line."""
        return "\n".join(map(": ".join, self.findings))

    def table(self) -> str:
        """Return the figures as a Markdown table."""
        counts = Counter((family, kind) for family, kind, _ in self.findings)
        rows = [
            ["family", "points", *KINDS],
            ["---", *["---:"] * (len(KINDS) + 1)],
            *(
                [family, f"{points:,}", *(str(counts[family, kind]) for kind in KINDS)]
                for family, points in sorted(self.points.items())
            ),
        ]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)
