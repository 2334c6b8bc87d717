"""Make untrusted text safe to print: no control characters, no password, not too long."""

from __future__ import annotations

import re

VALUE_LENGTH = 200
"""How many characters of one value, such as a revision's id, are shown."""

_MESSAGE_LENGTH = 10_000
_LONGEST_PASSWORD = 4_000  # bounds the search; tokens for cloud databases have about 1,500

# ":password@" anywhere, up to the last @ of the word, and password='...' of libpq.
_USER_AND_PASSWORD = re.compile(
    rf":(?!//|(?:\*\*\*|PASSWORD)@)[^\s]{{1,{_LONGEST_PASSWORD}}}@",
)
_ASSIGNED = re.compile(
    r"((?:pass(?:word|wd|phrase)|pwd|secret|token)\w*\s*=\s*)"
    rf"(?:'(?:[^'\\]|\\.){{0,{_LONGEST_PASSWORD}}}'?|(?:\\.|[^\s&\\]){{1,{_LONGEST_PASSWORD}}})",
    re.IGNORECASE,
)


def printable(value: object, length: int = _MESSAGE_LENGTH) -> str:
    r"""Return a value as one line of text that is safe to print or log.

    Control characters, line breaks, bidirectional formatting characters and lone surrogates become
    escapes such as \x1b, as in `repr`. A likely password in a URL or connection string becomes ***.
    The middle of a long text is left out. The function is idempotent.

    Args:
        value: The value, which is converted by `str`.
        length: How many characters to keep.
    """
    # First, to bound the time of the search. A password that begins in what is kept ends there.
    text = str(value)
    bounded = _shortened(text, 4 * max(length, _LONGEST_PASSWORD))
    shown = _shortened(_without_passwords(bounded), length, len(text) - len(bounded))
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in shown
    )


def printable_lines(text: str) -> str:
    """Return a text of several lines, such as a traceback, with each line printable."""
    return "\n".join(map(printable, text.split("\n")))


def one_line(error: object) -> str:
    """Return an error's message, which drivers may spread over several lines, as one line."""
    return printable(" ".join(str(error).split()))


def _without_passwords(text: str) -> str:
    if ":" in text and "@" in text:
        text = _USER_AND_PASSWORD.sub(":***@", text)
    return _ASSIGNED.sub(r"\1***", text) if "=" in text else text


def _shortened(text: str, length: int, left_out: int = 0) -> str:
    if len(text) <= length:
        return text
    kept = max(length - 50, 2) // 2  # leaves room for the text in between
    return f"{text[:kept]}… ({left_out + len(text) - 2 * kept} characters left out) …{text[-kept:]}"
