"""Finds the texts with which the source refuses something, for docs/reference/refusals.md.

A text is what stands in the source between the quotes, with "…" for each value put into it.
"""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING

from api_page import SOURCE

from shortsdb import driver_errors
from shortsdb.migration import postgresql_schema
from shortsdb.sqlite import baseline, schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What ends a command with a message of ours.
_ERRORS = {
    "ArgumentError",
    "BadParameter",
    "ClickException",
    "CommandError",
    "InUseAtForkError",
    "MigrationHalfApplied",
    "MigrationRefused",
    "OperationRefused",
    "UnknownSchemaError",
    "UsageError",
}


def texts() -> dict[str, str]:
    """Return every text, and the file that it is in."""
    files = [*SOURCE.glob("shortsdb/**/*.py"), *SOURCE.parent.glob("alembic/versions/*.py")]
    found = {text: file.name for file in sorted(files) for text in _texts_of(file)}
    for meaning in driver_errors._MEANINGS.values():  # noqa: SLF001 - the texts are the subject
        found["… " + re.sub(r"{[^}]*}", "…", meaning)] = "driver_errors.py"
    return found


def schema_mismatches() -> list[str]:
    """Return the phrases that say what does not fit about an unversioned file."""
    nodes = [
        node
        for module in (baseline, schema, postgresql_schema)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.JoinedStr)
    ]
    return [
        text for text in map(_text, nodes) if text.startswith(("table ", "column ", "the name "))
    ]


def _texts_of(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = {
        target.id: _text(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in _ERRORS and node.args:
            argument = node.args[0]
            known = constants.get(argument.id) if isinstance(argument, ast.Name) else None
            yield known or _text(argument)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _text(node: ast.expr) -> str:
    """Return a text as it stands in the source, "…" for what is computed."""
    return re.sub(r"…[.…]*…", "…", _pieces(node))


def _pieces(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_pieces, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _pieces(node.left) + _pieces(node.right)
    return "…"
