"""The mutation tester: tested mistakes are killed, others survive, and no process is left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mutant_places
import mutants
import pytest
from cosmic_ray.mutating import mutate_code
from mutant_operators import OPERATORS
from project import ROOT

MODULE = """
def smaller(one: int, other: int | None) -> int:
    if other is None:
        return one
    return min(one, other)


def larger(one: int, other: int) -> int:
    if one > other:
        return one
    return other
"""
TESTS = """
import subprocess

from shortsdb.sizes import larger, smaller


def test_smaller() -> None:
    left = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    with open(PIDS, "a") as pids:
        print(left.pid, file=pids)
    assert smaller(1, None) == 1
    assert smaller(2, 3) == 2
    larger(1, 3)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with one module, whose second function is called and not tested."""
    for folder in ("alembic", "src/shortsdb", "tests", "tools"):
        (tmp_path / folder).mkdir(parents=True)
    for tool in (ROOT / "tools").glob("mutant*.py"):
        shutil.copy(tool, tmp_path / "tools")
    for file in ("alembic.ini", "pyproject.toml", "src/shortsdb/__init__.py"):
        (tmp_path / file).touch()
    (tmp_path / "pyproject.toml").write_text('[tool.pytest]\nmarkers = ["crash", "peers"]\n')
    (tmp_path / "src/shortsdb/sizes.py").write_text(MODULE)
    (tmp_path / "tests/test_sizes.py").write_text(f"PIDS = {str(tmp_path / 'pids')!r}\n{TESTS}")
    (tmp_path / "tools/mutants.toml").write_text(
        '[tests]\n"sizes" = ["test_sizes.py"]\n'
        "[[equivalent]]\n"
        'module = "sizes"\noperator = "ReplaceComparisonOperator_Gt_GtE"\n'
        'line = "if one > other:"\nreason = "equal numbers are the same number"\n'
    )
    return tmp_path


def _runs(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"X", "Z"}


def test_mistakes_that_are_not_tested_survive(project: Path) -> None:
    command = [sys.executable, "tools/mutants.py"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    report = (project / "build/mutants/report.md").read_text()
    assert "| all | 7 | 1 | 6 | 3 | 3 | 50.0% |" in report
    assert {line for line in report.splitlines() if line.startswith(("-  ", "+  "))} == {
        "-    if one > other:",
        "+    if not (one > other):",
        "-        return one",
        "-    return other",
        "+        pass",
        "+    pass",
    }
    left = (project / "pids").read_text().split()
    assert len(left) > 6
    assert not [pid for pid in left if _runs(pid)]
    again = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    assert "| all | 7 | 1 | 6 | 3 | 3 | 50.0% |" in again.stderr
    assert (project / "pids").read_text().split() == left


@pytest.mark.parametrize(
    ("operator", "source", "mutated"),
    [
        ("RemoveStatement", "f(1)\n", ["pass\n"]),
        ("RemoveStatement", "a.b = 1\n", ["pass\n"]),
        ("RemoveStatement", "a = 1\nyield\n'text'\n", []),
        ("RemoveStatement", "if a:\n    return\n", ["if a:\n    pass\n"]),
        ("RemoveStatement", "raise\n", ["pass\n"]),
        ("RemoveStatement", "def f():\n    g = 1\n    return None\n", []),
        ("RemoveKeyword", "f(a, b=1, c=2)\n", ["f(a, c=2)\n", "f(a, b=1)\n"]),
        ("RemoveKeyword", "zip(a, b, strict=True)\n", []),
        ("RemoveKeyword", "f(b=1)\nclass A(b=1): ...\n", ["f()\nclass A(b=1): ...\n"]),
        ("RemoveException", "try:\n    f()\nexcept A.b as c:\n    g()\n", ["except () as c"]),
        ("RemoveException", "try:\n    f()\nexcept (A, B):\n    g()\n", ["(B, )", "(A, )"]),
        ("RemoveContext", "with a(), b() as c:\n    f()\n", ["nullcontext(), b() as c"]),
        ("NegateCondition", "[a for a in b if a > 1]\n", ["[a for a in b if not (a > 1)]\n"]),
        ("NegateCondition", "a if (b := c) else d\n", ["a if not ((b := c)) else d\n"]),
        ("NegateCondition", "while a == b and c: f()\n", ["while not (a == b and c): f()\n"]),
        ("NegateCondition", "if a is None: f()\n", []),
        ("NegateMembership", "a not in b\n", ["a in b\n"]),
        ("ChangeNumber", "f(1, 200)\n", ["f(2, 200)\n", "f(0, 200)\n", "f(1, 0)\n"]),
    ],
)
def test_operators(operator: str, source: str, mutated: list[str]) -> None:
    made: list[str] = []
    while changed := mutate_code(source, OPERATORS[operator], len(made)):
        made.append(changed)
    assert len(made) == len(mutated)
    assert all(part in changed for part, changed in zip(mutated, made, strict=True))


def test_the_modules_that_keep_promises_have_tests_that_exist() -> None:
    settings = mutants.Settings()
    rooms = ("engine", "health", "migration", "sqlite", "transfer")
    files = {file for room in rooms for file in (ROOT / "src/shortsdb" / room).glob("*.py")}
    modules = {f"{file.parent.name}/{file.stem}" for file in files if file.stem != "__init__"}
    assert modules <= settings.tests.keys()
    assert all((ROOT / test).exists() for tests in settings.tests.values() for test in tests)


def test_equivalent_mutants_exist() -> None:
    settings = mutants.Settings()
    modules = {entry["module"] for entry in settings.equivalent}
    listed = [vars(mutant) for module in modules for mutant in mutant_places.mutants(module)]
    for entry in settings.equivalent:
        named = entry.items() - {("reason", entry["reason"])}
        assert any(named <= mutant.items() for mutant in listed), entry
