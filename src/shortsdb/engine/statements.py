"""Classify SQL statements: which ones need the write lock."""

from __future__ import annotations

import re

# Whitespace, comments and parentheses, then the first word. The quantifiers are possessive, so that
# the match cannot backtrack into a comment.
_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*+|/\*.*?\*/)*+([A-Za-z]++)", re.DOTALL)

_READS = {"SELECT", "VALUES", "TABLE", "SHOW"}
# The caller controls the transaction.
_CONTROL = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
# SQLite rejects or ignores the first three inside a transaction; SET and RESET write no row.
_OUTSIDE = {"VACUUM", "ATTACH", "DETACH", "SET", "RESET"}
_NO_LOCK = _READS | _CONTROL | _OUTSIDE

# These statements read unless they contain a writing word. A match inside a string costs a lock.
_MAY_CONTAIN_WRITES = {"WITH", "EXPLAIN"}
_WRITING_WORD = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE|MERGE)\b", re.IGNORECASE)

# Other PRAGMAs apply to the connection or must be changed outside a transaction.
_HEADER_SETTING = re.compile(
    r"\b(?:user_version|application_id|schema_version)\b.*[=(]", re.IGNORECASE | re.DOTALL
)

# The clauses with which PostgreSQL's SELECT locks rows or creates a table. A match inside a string
# costs a lock. See https://www.postgresql.org/docs/current/sql-select.html
_LOCKING_WORDS = re.compile(
    r"\b(?:FOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)|INTO)\b", re.IGNORECASE
)


def may_write(statement: str) -> bool:
    """Return whether a statement may write, so that the write lock must be taken first.

    A false positive costs a lock. After a false negative SQLite would commit the write at once, so
    every statement that is not known to read counts as writing.
    """
    if statement.startswith("SELECT"):  # fast path for nearly all statements outside a write
        return False
    word = _first_word(statement)
    if word in _MAY_CONTAIN_WRITES:
        return _WRITING_WORD.search(statement) is not None
    if word == "PRAGMA":
        return _HEADER_SETTING.search(statement) is not None
    return word not in _NO_LOCK


def may_lock_rows(statement: str) -> bool:
    """Return whether the text of a SELECT locks rows or creates a table."""
    return _LOCKING_WORDS.search(statement) is not None


def is_pragma(statement: str) -> bool:
    """Return whether a statement may change a setting of a SQLite connection."""
    return not statement.startswith("SELECT") and _first_word(statement) == "PRAGMA"


def _first_word(statement: str) -> str:
    found = _FIRST_WORD.match(statement)
    return found[1].upper() if found else ""
