"""Which statements need the write lock."""

from __future__ import annotations

import re

# Whitespace, comments and parentheses, and then the first word. Possessive: a match never goes
# back into a comment.
_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*+|/\*.*?(?:\*/|\Z))*+([A-Za-z]++)", re.DOTALL)

_READS = {"SELECT", "VALUES", "TABLE", "SHOW"}
# The caller controls the transaction.
_CONTROL = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
# SQLite refuses or ignores these inside a transaction; SET and RESET write no row.
_OUTSIDE = {"VACUUM", "ATTACH", "DETACH", "SET", "RESET"}
_NO_LOCK = _READS | _CONTROL | _OUTSIDE

# They read, unless they contain one of these words. In a string it does no harm.
_MAY_CONTAIN_WRITES = {"WITH", "EXPLAIN"}
_WRITING_WORD = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE|MERGE)\b", re.IGNORECASE)

# Other settings are either of the connection or must be changed outside a transaction.
_HEADER_SETTING = re.compile(
    r"\b(?:user_version|application_id|schema_version)\b.*[=(]", re.IGNORECASE | re.DOTALL
)

# What a SELECT of PostgreSQL locks its rows with, or makes a table with. In a string it does no
# harm. https://www.postgresql.org/docs/current/sql-select.html
_LOCKING_WORDS = re.compile(
    r"\b(?:FOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)|INTO)\b", re.IGNORECASE
)


def may_write(statement: str) -> bool:
    """Return whether a statement may write, so that the write lock must be taken first.

    A false positive costs a lock. A false negative would be committed at once on SQLite, so every
    statement that is not known to read counts as writing.
    """
    if statement.startswith("SELECT"):  # nearly all that run outside a write transaction
        return False
    word = _first_word(statement)
    if word in _MAY_CONTAIN_WRITES:
        return _WRITING_WORD.search(statement) is not None
    if word == "PRAGMA":
        return _HEADER_SETTING.search(statement) is not None
    return word not in _NO_LOCK


def may_lock_rows(statement: str) -> bool:
    """Return whether a SELECT, as the caller wrote it, locks rows or makes a table."""
    return _LOCKING_WORDS.search(statement) is not None


def is_pragma(statement: str) -> bool:
    """Return whether a statement may change a setting of an SQLite connection."""
    return not statement.startswith("SELECT") and _first_word(statement) == "PRAGMA"


def _first_word(statement: str) -> str:
    found = _FIRST_WORD.match(statement)
    return found[1].upper() if found else ""
