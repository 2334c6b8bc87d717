"""Packages import only lower packages; the allowed imports are listed here."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import pytest
from project import ROOT

from shortsdb import migration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = ROOT / "src" / "shortsdb"

# Imports of shortsdb; each module of the top folder counts as a package.
_BASE = {"errors", "printable", "settings", "streams", "paths", "extras"}
_LOW = _BASE | {"log", "driver_errors"}
_DATA = _LOW | {"url", "models", "engine"}
ARROWS = {
    "printable": set(),
    "errors": {"printable"},
    "settings": {"errors"},
    "streams": set(),
    "paths": {"errors"},
    "extras": {"errors"},
    "bounded_calls": set(),
    "postgresql_session": set(),
    "models": set(),
    "model_docs": {"errors", "models"},
    "log": _BASE,
    "driver_errors": _BASE,
    "sqlite": _LOW,
    "url": _LOW | {"sqlite"},
    "target": _LOW | {"sqlite", "url"},
    "migration": _LOW | {"postgresql_session", "sqlite", "url", "target"},
    "engine": _LOW | {"postgresql_session", "sqlite", "url"},
    "queries": {"models"},
    "seed": {"models"},
    "diagram": {"extras", "models"},
    "repositories": {"extras", "models", "queries"},
    "health": _DATA | {"bounded_calls", "migration", "sqlite"},
    "lifecycle": _DATA | {"health", "migration", "sqlite"},
    "database": _DATA | {"health", "lifecycle", "queries", "seed"},
    "transfer": _DATA | {"lifecycle", "migration", "sqlite", "target"},
    "metrics": {"extras", "health"},
    "console": _DATA
    | {"database", "extras", "health", "model_docs", "printable", "queries", "target"},
    "web": _DATA | {"metrics"} | {"database", "extras", "health", "migration", "sqlite"},
}
# The only libraries that these packages may import, anywhere in a module.
_LIBRARIES = {"sqlite": set(), "errors": set(), "settings": set(), "models": {"sqlalchemy"}}


def _imports(file: Path) -> Iterator[str]:
    """Give the names of modules that a file imports, also inside functions and for types."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module is not None
            if node.module in {"shortsdb", "shortsdb.migration"}:
                names = {name.name for name in node.names} - {"__version__"}
                yield from (f"{node.module}.{name}" for name in names)
            else:
                yield node.module


def _files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def _room(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("room", ARROWS)
def test_a_package_imports_only_lower_packages(room: str) -> None:
    upward = {
        f"{file.relative_to(SOURCE)}: {name}"
        for file in _files()
        if _room(file) == room
        for name in _imports(file)
        if name.startswith("shortsdb.") and name.split(".")[1] not in ARROWS[room] | {room}
    }
    assert not upward


def test_every_package_has_its_allowed_imports_listed() -> None:
    programs = {"__init__", "__main__", "cli"}
    assert {_room(file) for file in _files()} - programs == ARROWS.keys()


def test_allowed_imports_form_no_cycle() -> None:
    done: set[str] = set()
    while ready := {room for room, below in ARROWS.items() if below <= done} - done:
        done |= ready
    assert done == ARROWS.keys()


@pytest.mark.parametrize("room", _LIBRARIES)
def test_low_packages_import_no_library(room: str) -> None:
    used = {
        name.split(".")[0] for file in _files() if _room(file) == room for name in _imports(file)
    }
    assert used - sys.stdlib_module_names - {"shortsdb"} <= _LIBRARIES[room]


def test_migration_is_imported_only_through_its_public_names() -> None:
    files = [*_files(), *(ROOT / "alembic").rglob("*.py")]
    inside = {
        f"{file}: {name}"
        for file in files
        if _room_or_none(file) != "migration"
        for name in _imports(file)
        if name.startswith("shortsdb.migration.")
        if name.removeprefix("shortsdb.migration.") not in migration.__all__
    }
    assert not inside


def _room_or_none(file: Path) -> str | None:
    return _room(file) if file.is_relative_to(SOURCE) else None
