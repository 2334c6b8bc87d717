"""The mistakes that `make mutants` makes: a choice of Cosmic Ray's operators, and some of our own.

Cosmic Ray replaces operators and constants. It leaves out no statement, no `with`, no keyword
argument and no exception of a handler, which are the mistakes that promises die of.
"""

from __future__ import annotations

import ast
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from cosmic_ray.ast import get_ast
from cosmic_ray.operators import (
    binary_operator_replacement,
    boolean_replacer,
    break_continue,
    comparison_operator_replacement,
    remove_decorator,
    unary_operator_replacement,
    zero_iteration_for_loop,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Node: TypeAlias = Any
"""A node of parso, whose types do not say what it has."""
Position: TypeAlias = tuple[int, int]
"""A line, from 1, and a column, from 0."""


def _replaced(node: Node, text: str) -> Node:
    """Return what is to stand in the place of `node`, with the space before it."""
    return get_ast(node.get_first_leaf().prefix + text)


class _ReplaceChild:
    """An operator, as Cosmic Ray calls it, that replaces children of nodes by texts."""

    def changes(self, node: Node) -> Iterator[tuple[int, str]]:
        """Yield the changes of a node: which child, and the text that replaces it."""
        raise NotImplementedError

    def mutation_positions(self, node: Node) -> Iterator[tuple[Position, Position]]:
        """Yield where `node` can be changed."""
        for child, _ in self.changes(node):
            yield node.children[child].start_pos, node.children[child].end_pos

    def mutate(self, node: Node, index: int) -> Node:
        """Make the change with the number `index`."""
        child, text = list(self.changes(node))[index]
        node.children[child] = _replaced(node.children[child], text)
        return node


class ChangeNumber(_ReplaceChild):
    """Adds one to a number below ten, or takes one away, and replaces others by 0.

    Whether a wait or a limit is 200 or 201 was our choice, and is no promise.
    """

    def changes(self, node: Node) -> Iterator[tuple[int, str]]:
        """Yield the changes of the numbers below a node."""
        for child, leaf in enumerate(getattr(node, "children", ())):
            if leaf.type == "number":
                number = ast.literal_eval(leaf.value)
                changed = (number + 1, number - 1) if number < 10 else (0,)
                yield from ((child, str(each)) for each in changed)


class RemoveStatement(_ReplaceChild):
    """Leaves out a call, a raise, a return, a del, or an assignment to an attribute or item."""

    def changes(self, node: Node) -> Iterator[tuple[int, str]]:
        """Yield the change of a simple statement."""
        if node.type != "simple_stmt":
            return
        statement = node.children[0]
        kind = statement.type
        target = statement.children[0] if kind == "expr_stmt" else None
        stored = target is not None and target.type in {"power", "atom_expr"}
        called = kind in {"power", "atom_expr", "await"}
        left = kind in {"raise_stmt", "return_stmt", "del_stmt"} or statement == "return"
        # At the end of a function, None is returned anyway.
        at_end = node.parent.type == "suite" and node.parent.children[-1] == node
        needless = (
            at_end
            and node.parent.parent.type == "funcdef"
            and (statement.get_code(include_prefix=False) in {"return", "return None"})
        )
        if (stored or called or left or statement == "raise") and not needless:
            yield 0, "pass"


class RemoveContext(_ReplaceChild):
    """Enters nothing instead of a context manager whose value is not named."""

    def changes(self, node: Node) -> Iterator[tuple[int, str]]:
        """Yield the changes of a `with`."""
        if node.type == "with_stmt":
            for child in range(1, len(node.children) - 2, 2):
                if node.children[child].type != "with_item":
                    yield child, "__import__('contextlib').nullcontext()"


class RemoveKeyword(_ReplaceChild):
    """Leaves out a keyword argument of a call, but not that of zip, which ruff wants always."""

    def changes(self, node: Node) -> Iterator[tuple[int, str]]:
        """Yield the changes of a call."""
        if node.type != "trailer" or node.children[0] != "(" or len(node.children) != 3:
            return
        inner = node.children[1]
        arguments = inner.children[::2] if inner.type == "arglist" else [inner]
        for removed in arguments:
            if (
                removed.type == "argument"
                and removed.children[1] == "="
                and removed.children[0].value != "strict"
            ):
                kept = [each.get_code() for each in arguments if each is not removed]
                yield 1, ",".join(kept).lstrip()


class RemoveException(_ReplaceChild):
    """Handles one kind of exception less."""

    def changes(self, node: Node) -> Iterator[tuple[int, str]]:
        """Yield the changes of an except clause."""
        if node.type != "except_clause":
            return
        caught = node.children[1]
        code = caught.get_code(include_prefix=False)
        parsed = ast.parse(code, mode="eval").body
        names = [ast.unparse(name) for name in getattr(parsed, "elts", ())]
        for removed in names or [code]:
            kept = [f"{name}, " for name in names if name != removed]
            yield 1, f"({''.join(kept)})"


class NegateMembership(_ReplaceChild):
    """Replaces `in` by `not in`, and the other way round."""

    def changes(self, node: Node) -> Iterator[tuple[int, str]]:
        """Yield the changes of a comparison."""
        if node.type == "comparison":
            for child in range(1, len(node.children), 2):
                operator = node.children[child].get_code(include_prefix=False)
                if operator in {"in", "not in"}:
                    yield child, "in" if operator == "not in" else "not in"


class NegateCondition(_ReplaceChild):
    """Negates a condition, of a comprehension too, unless another operator negates it."""

    def changes(self, node: Node) -> Iterator[tuple[int, str]]:
        """Yield the changes of what follows an `if`, `elif` or `while` in a node."""
        children = getattr(node, "children", ())
        for child, (keyword, condition) in enumerate(pairwise(children), 1):
            if keyword in ("if", "elif", "while") and not self._negated_by_another(condition):
                yield child, f"not ({condition.get_code(include_prefix=False)})"

    def _negated_by_another(self, condition: Node) -> bool:
        if condition.type == "comparison":
            return not {"<", "<=", ">", ">="}.intersection(condition.children[1:2])
        return bool(condition.type == "not_test")


_BINARY = {"Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "Mod_Mul", "BitOr_BitAnd"}
_BINARY |= {"BitAnd_BitOr", "LShift_RShift", "RShift_LShift"}
_COMPARISONS = {"Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt"}
_COMPARISONS |= {"Is_IsNot", "IsNot_Is"}
_CHOICES = {
    "ReplaceBinaryOperator": (binary_operator_replacement, _BINARY),
    "ReplaceComparisonOperator": (comparison_operator_replacement, _COMPARISONS),
    "ReplaceUnaryOperator": (unary_operator_replacement, {"USub_UAdd", "Delete_Not"}),
}
_CHOSEN = [
    operator
    for name, (module, pairs) in _CHOICES.items()
    for operator in module.operators()
    if operator.__name__.removeprefix(f"{name}_") in pairs
]

OPERATORS: dict[str, Any] = {
    operator.__name__: operator()
    for operator in (
        *_CHOSEN,
        boolean_replacer.ReplaceTrueWithFalse,
        boolean_replacer.ReplaceFalseWithTrue,
        boolean_replacer.ReplaceAndWithOr,
        boolean_replacer.ReplaceOrWithAnd,
        break_continue.ReplaceBreakWithContinue,
        break_continue.ReplaceContinueWithBreak,
        remove_decorator.RemoveDecorator,
        zero_iteration_for_loop.ZeroIterationForLoop,
        ChangeNumber,
        RemoveStatement,
        RemoveContext,
        RemoveKeyword,
        RemoveException,
        NegateMembership,
        NegateCondition,
    )
}
"""The operators by name."""
