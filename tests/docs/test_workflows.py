"""Workflows and pages name existing make targets, and CI covers every supported version."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from project import ROOT

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROSE = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob(".github/**/*.md"),
    ROOT / ".ci" / "run",
]
_MAKE = re.compile(r"\bmake (?:--no-print-directory )?([a-z][a-z-]*)")


def targets() -> set[str]:
    """Return the targets that the Makefile declares."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


def commands(workflow: Path) -> list[str]:
    """Return every command that a workflow runs."""
    jobs: dict[str, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_workflows_run_existing_make_targets(workflow: Path) -> None:
    named = [target for command in commands(workflow) for target in _MAKE.findall(command)]
    assert named
    assert set(named) <= targets()


def test_the_workflows_test_every_supported_version() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    matrix = jobs["jobs"]["test"]["strategy"]["matrix"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert supported
    assert set(supported) <= set(matrix["python"])
    assert project["requires-python"] == f">={matrix['python'][0]}"
    assert "sqlalchemy>=2.0.47,<2.2" in project["dependencies"]
    assert matrix["sqlalchemy"] == ["2.0", "2.1"]


@pytest.mark.parametrize("file", PROSE, ids=lambda file: str(file.relative_to(ROOT)))
def test_pages_name_existing_make_targets(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    named = re.findall(r"`make ([a-z-]+)[ `]", text)
    if file.name == "run":
        named = _MAKE.findall(text)
        assert "test-all" in named
    assert set(named) <= targets()
