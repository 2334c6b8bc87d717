"""Untrusted text is safe to print: one line, no control characters, no password, not too long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortsdb.migration import MigrationRefused
from shortsdb.printable import VALUE_LENGTH, one_line, printable, printable_lines


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain äöü 日本 😀", "plain äöü 日本 😀"),
        ("a\nb\r\x1b[31m", "a\\nb\\r\\x1b[31m"),
        ("\x85\x9b\x7f", "\\x85\\x9b\\x7f"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\udcff", "\\udcff"),
    ],
)
def test_control_and_format_characters_are_escaped(given: str, shown: str) -> None:
    assert printable(given) == shown


@given(st.text(st.characters()))
def test_printable_returns_one_printable_line_and_is_idempotent(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://u:p@ss/w@h/d", "postgresql://u:***@h/d"),
        ("(postgresql:/u:pw@h)", "(postgresql:***@h)"),
        ("postgresql://u:***@h:5432/d: no", "postgresql://u:***@h:5432/d: no"),
        ("host=h password='a b\\' c' user=u", "host=h password=*** user=u"),
        ("?sslPassword=pw&x=1", "?sslPassword=***&x=1"),
        ("at 12:30 by me@h", "at 12:30 by me@h"),
        ("has the form x://USER:PASSWORD@HOST/D", "has the form x://USER:PASSWORD@HOST/D"),
        ("password = 'a b' user=u", "password = *** user=u"),
        ("passwd=a passphrase=b pwd=c", "passwd=*** passphrase=*** pwd=***"),
        ("client_secret=a Token_2=b", "client_secret=*** Token_2=***"),
        ("password=a\\ b&c", "password=***&c"),
        ("passfile=/x", "passfile=/x"),
    ],
)
def test_passwords_are_masked(given: str, shown: str) -> None:
    assert printable(given) == shown


@pytest.mark.parametrize("characters", [20, 1_500, 4_000])
@pytest.mark.parametrize("form", ["postgresql://u:{}@h/d", "password='{}' user=u"])
def test_no_part_of_a_password_is_left_by_shortening(form: str, characters: int) -> None:
    """Wherever the text is cut, also in the middle of the password."""
    given = form.format("S" * characters)
    for before in range(0, VALUE_LENGTH, 7):
        for after in (0, VALUE_LENGTH // 2, 30_000):
            shown = printable("b" * before + " " + given + " " + "a" * after, VALUE_LENGTH)
            assert "S" not in shown
            assert len(shown) <= VALUE_LENGTH


def test_a_long_value_is_shortened_and_keeps_both_ends() -> None:
    shown = printable("begin" + "://a:\n" * 2_000_000 + "end")
    assert len(shown) < 100_000
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "characters left out" in shown
    assert len(printable("x" * 10_000_000, VALUE_LENGTH)) <= VALUE_LENGTH


def test_the_text_that_is_left_out_is_counted() -> None:
    assert printable("x" * 200, VALUE_LENGTH) == "x" * 200
    left_out = "… (51 characters left out) …"
    assert printable("x" * 201, VALUE_LENGTH) == "x" * 75 + left_out + "x" * 75
    assert printable("x" * 10_000) == "x" * 10_000
    assert len(printable("x" * 10_001)) < 10_000
    assert printable("begin and end", 10) == "b… (11 characters left out) …d"
    for length in (VALUE_LENGTH, 10_000):  # also what is left out before the search for passwords
        shown = printable("x" * 10_000_000, length)
        (left_out,) = re.findall(r"(\d+) characters left out", shown)
        assert int(left_out) + shown.count("x") == 10_000_000


def test_the_search_for_passwords_does_not_hang() -> None:
    begun = time.process_time()
    printable("://a:" * 2_000_000)
    printable("password='" * 1_000_000)
    assert time.process_time() - begun < 60  # a guard against a hang, which hours would be


def test_lines_and_one_line() -> None:
    assert printable_lines("a\x1b\nb") == "a\\x1b\nb"
    assert printable_lines("a\rb\u2028c\x0bd\ne") == "a\\rb\\u2028c\\x0bd\ne"
    assert one_line(ValueError("a\n  b\x00")) == "a b\\x00"


def test_the_message_of_a_refusal_is_printable() -> None:
    """An application that prints it needs no care."""
    forged = "x\nINFO    shorts.db is now at 0008"
    assert str(MigrationRefused(f"{forged} is wrong")) == f"{printable(forged)} is wrong"
    assert str(MigrationRefused("these:", "a\nb", "c")) == "these:\n  a\\nb\n  c"
    assert len(str(MigrationRefused("x" * 10_000_000))) < 20_000
