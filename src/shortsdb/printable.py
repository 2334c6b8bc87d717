"""Makes text that others chose safe to print: no control characters, no password, not too long."""

from __future__ import annotations

import re

VALUE_LENGTH = 200
"""How much of one value, such as a revision's id, is worth showing."""

_MESSAGE_LENGTH = 10_000
_LONGEST_PASSWORD = 4_000  # bounds the search; tokens that cloud databases take have about 1,500

# "user:password@" wherever it stands, up to the last @ of the word, and password='...' of libpq.
_USER_AND_PASSWORD = re.compile(
    rf"([^\s:/@'\"(]*):(?!//|(?:\*\*\*|PASSWORD)@)[^\s]{{1,{_LONGEST_PASSWORD}}}@",
)
_ASSIGNED = re.compile(
    r"((?:pass(?:word|wd|phrase)|pwd|secret|token)\w*\s*=\s*)"
    rf"(?:'(?:[^'\\]|\\.){{0,{_LONGEST_PASSWORD}}}'?|(?:\\.|[^\s&\\]){{1,{_LONGEST_PASSWORD}}})",
    re.IGNORECASE,
)


def printable(value: object, length: int = _MESSAGE_LENGTH) -> str:
    r"""Return a value as text that may be printed or logged, in one line.

    Control characters, line breaks, marks that change the direction of writing and lone surrogates
    become escapes such as \x1b, as `repr` writes them. What looks like the password of a URL or of
    a connection string becomes ***. Of a long text the middle is left out. Doing it twice changes
    nothing more.

    Args:
        value: What to print; `str` makes it text.
        length: How many characters to keep of it.
    """
    text = _shortened(str(value), 4 * length)  # first, because the search takes time
    text = _shortened(_without_passwords(text), length)
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def printable_lines(text: str) -> str:
    """Return a text of several lines, such as a traceback, each of them printable."""
    return "\n".join(map(printable, text.split("\n")))


def one_line(error: object) -> str:
    """Return the words of an error, which drivers spread over several lines, as one line."""
    return printable(" ".join(str(error).split()))


def _without_passwords(text: str) -> str:
    if ":" in text and "@" in text:
        text = _USER_AND_PASSWORD.sub(r"\1:***@", text)
    return _ASSIGNED.sub(r"\1***", text) if "=" in text else text


def _shortened(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    kept = max(length - 50, 2) // 2  # the rest is for what stands in between
    return f"{text[:kept]}… ({len(text) - 2 * kept} characters left out) …{text[-kept:]}"
