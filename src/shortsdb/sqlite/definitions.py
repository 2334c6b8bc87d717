"""Reads from a table's SQL what no PRAGMA tells: its CHECKs, and whether it says AUTOINCREMENT."""

from __future__ import annotations

import re
from collections import Counter

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<text>'(?:[^']|'')*')
    |"(?P<double>(?:[^"]|"")*)"|`(?P<back>(?:[^`]|``)*)`|\[(?P<square>[^\]]*)\]
    |(?P<word>[\w$.]+)|(?P<other>[^\s])""",
    re.VERBOSE | re.DOTALL,
)


def check_clauses(sql: str) -> Counter[str]:
    """Return the conditions of the CHECKs of a CREATE TABLE statement.

    Two that differ in spaces, comments, quotes around names or the case of what is not quoted are
    the same.
    """
    tokens = _tokens(sql)
    clauses: Counter[str] = Counter()
    for number, (kind, token) in enumerate(tokens):
        if (kind, token) != ("word", "check") or tokens[number + 1 : number + 2] != [
            ("other", "(")
        ]:
            continue
        depth, parts = 0, []
        for kind_of_part, part in tokens[number + 1 :]:
            if kind_of_part == "other":
                depth += (part == "(") - (part == ")")
            parts.append(part)
            if depth == 0:
                break
        clauses[" ".join(parts)] += 1
    return clauses


def numbers_without_reuse(sql: str) -> bool:
    """Return whether a CREATE TABLE statement says AUTOINCREMENT."""
    return ("word", "autoincrement") in _tokens(sql)


def _tokens(sql: str) -> list[tuple[str, str]]:
    """Return the tokens with their kinds; names that were quoted are of the kind "name"."""
    return [
        (
            {"text": "text", "word": "word", "other": "other"}.get(str(match.lastgroup), "name"),
            match[str(match.lastgroup)].lower() if match.lastgroup != "text" else match[0],
        )
        for match in _TOKEN.finditer(sql)
        if match.lastgroup != "comment"
    ]
