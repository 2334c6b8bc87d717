"""Parse CHECKs, collations and options, which no PRAGMA reports, from the SQL of tables."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<text>'(?:[^']|'')*')
    |"(?P<double>(?:[^"]|"")*)"|`(?P<back>(?:[^`]|``)*)`|\[(?P<square>[^\]]*)\]
    |(?P<word>[\w$.]+)|(?P<other>[^\s])""",
    re.VERBOSE | re.DOTALL,
)
_NO_COLUMN = {"constraint", "primary", "unique", "check", "foreign"}


class _Token(NamedTuple):
    kind: str  # "text", "word", "other", or "name" if it was quoted
    value: str
    depth: int  # of the parentheses around it


def check_clauses(sql: str, renamed: Mapping[str, str]) -> Counter[tuple[str, ...]]:
    """Return the CHECK conditions of a CREATE TABLE statement, each as a tuple of tokens.

    Spaces, comments, quotes around names and the case of unquoted words do not matter.

    Args:
        sql: The statement.
        renamed: The new names of renamed columns, by old name, in lower case.
    """
    tokens = _tokens(sql, renamed)
    clauses: Counter[tuple[str, ...]] = Counter()
    for number, token in enumerate(tokens):
        following = [one.value for one in tokens[number + 1 : number + 2]]
        if token[:2] != ("word", "check") or following != ["("]:
            continue
        end = next(
            later
            for later in range(number + 2, len(tokens))
            if tokens[later].value == ")" and tokens[later].depth == token.depth
        )
        clauses[tuple(part.value for part in tokens[number + 1 : end + 1])] += 1
    return clauses


def collations(sql: str) -> dict[str, str]:
    """Return the collations in a CREATE TABLE statement by column, in lower case."""
    found: dict[str, str] = {}
    column = None
    before = ""
    for kind, value, depth in _tokens(sql, {}):
        if depth == 1 and before in {"(", ","}:
            column = None if (kind == "word" and value in _NO_COLUMN) else value
        if depth == 1 and column is not None and before == "collate":
            found[column] = value
        before = value if kind in {"word", "other"} else ""
    return found


def table_options(sql: str) -> set[str]:
    """Return which of AUTOINCREMENT, STRICT and WITHOUT ROWID a CREATE TABLE statement has."""
    tokens = _tokens(sql, {})
    last = max((number for number, one in enumerate(tokens) if one.value == ")"), default=0)
    behind = {one.value for one in tokens[last:]}
    options = {
        "AUTOINCREMENT": any(one[:2] == ("word", "autoincrement") for one in tokens),
        "STRICT": "strict" in behind,
        "WITHOUT ROWID": "rowid" in behind,
    }
    return {option for option, is_there in options.items() if is_there}


def index_definition(sql: str, renamed: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tokens of a CREATE INDEX statement from its columns on, see `check_clauses`."""
    tokens = _tokens(sql, renamed)
    first = next(number for number, one in enumerate(tokens) if one.value == "(")
    # ASC is the default, so it makes no difference.
    return tuple(one.value for one in tokens[first:] if one[:2] != ("word", "asc"))


def _tokens(sql: str, renamed: Mapping[str, str]) -> list[_Token]:
    tokens: list[_Token] = []
    depth = 0
    for match in _TOKEN.finditer(sql):
        group = str(match.lastgroup)
        if group == "comment":
            continue
        value = match[0] if group == "text" else match[group].lower()
        depth -= group == "other" and value == ")"
        if group == "text":
            tokens.append(_Token("text", value, depth))
        elif group == "other":
            tokens.append(_Token("other", value, depth))
        else:
            kind = "word" if group == "word" else "name"
            tokens.append(_Token(kind, renamed.get(value, value), depth))
        depth += group == "other" and value == "("
    return tokens
