"""What the docstrings of the models say, and which models have none or are not exported."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from sqlalchemy import inspect as sa_inspect

from shortsdb import models
from shortsdb.errors import OperationRefused
from shortsdb.models import Base, types

if TYPE_CHECKING:
    from collections.abc import Iterator


def refuse_incomplete_models() -> None:
    """Check every model of `shortsdb.models`, before its tables become a revision.

    Raises:
        OperationRefused: A model is not exported, or it or one of its columns has no docstring.
            There is a line for each, which says what to add and where.
    """
    problems = find_incomplete_models()
    if problems:
        raise OperationRefused("the models are not complete; nothing was written", *problems)


def find_incomplete_models() -> list[str]:
    """Return what the models lack, a sentence for each: an export, or a docstring."""
    for module in pkgutil.iter_modules(models.__path__):
        import_module(f"{models.__name__}.{module.name}")
    # An application may declare tables of its own on `Base`.
    ours = [
        mapper.class_
        for mapper in Base.registry.mappers
        if mapper.class_.__module__.startswith(f"{models.__name__}.")
    ]
    ours.sort(key=lambda model: model.__name__)
    return [problem for model in ours for problem in _of(model)]


def _of(model: type[object]) -> Iterator[str]:
    name = model.__name__
    if name not in models.__all__ or getattr(models, name, None) is not model:
        yield (
            f"{name} is not exported: add `from {model.__module__} import {name}` and "
            f'"{name}" in `__all__` to {models.__name__.replace(".", "/")}/__init__.py'
        )
    if not model.__dict__.get("__doc__"):
        yield f"{model.__module__}.{name} has no docstring: say what a row is and who writes it"
    for column, meaning in column_meanings(model).items():
        if not meaning:
            yield (
                f"{model.__module__}.{name}.{column} has no docstring: say below it what it means"
            )


def column_meanings(model: type[object]) -> dict[str, str]:
    """Return the docstring of every mapped column, by attribute, in one line.

    A column without one has that of the Annotated shape that it is of, see `models.types`. The
    value is empty where there is neither.
    """
    shapes = _docstrings(ast.parse(inspect.getsource(types)))
    tree = ast.parse(inspect.getsource(model))
    assert isinstance(tree.body[0], ast.ClassDef)  # noqa: S101 - what getsource returns
    docstrings = _docstrings(tree.body[0])
    annotations = {
        node.target.id: ast.unparse(node.annotation)
        for node in tree.body[0].body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    meanings = {}
    for attribute in sa_inspect(model, raiseerr=True).column_attrs:
        column = attribute.key
        shape = annotations.get(column, "").removeprefix("Mapped[").removesuffix("]")
        meanings[column] = " ".join((docstrings.get(column) or shapes.get(shape, "")).split())
    return meanings


def _docstrings(tree: ast.Module | ast.ClassDef) -> dict[str, str]:
    """Return the string below each assignment in a body, by the name that is assigned to."""
    return {
        ast.unparse(target): str(below.value.value)
        for statement, below in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(statement, ast.AnnAssign | ast.Assign)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        for target in _targets(statement)
    }


def _targets(statement: ast.AnnAssign | ast.Assign) -> list[ast.expr]:
    return statement.targets if isinstance(statement, ast.Assign) else [statement.target]
