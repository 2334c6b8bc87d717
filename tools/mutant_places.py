"""The mutants of a module: each place that an operator can change, without those that are noise."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.work_item import MutationSpec
from mutant_operators import OPERATORS, Position

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


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
