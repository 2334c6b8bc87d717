"""Standard streams that are closed, full or replaced do not stop a program."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from shortsdb.streams import _Lenient, make_lenient, output_failure

if TYPE_CHECKING:
    import pytest


def printed(script: str, redirections: str = "", **environment: str) -> bytes:
    """Return the output of a Python program that begins with `make_lenient`."""
    script = f"import os, sys\nfrom shortsdb.streams import *\n{script}"
    line = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(script)} {redirections}"
    done = subprocess.run(
        ["bash", "-c", line],  # noqa: S607 - where the system has it
        env={**os.environ, "PYTHONUNBUFFERED": "", **environment},
        capture_output=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_the_first_failure_is_remembered() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    stream = _Lenient(descriptor, "w", closefd=False)
    assert stream.write(b"four") == 4
    os.close(descriptor)
    assert stream.write(b"four") == 4
    assert stream.failure is not None
    assert stream.failure.errno == errno.ENOSPC


def test_a_pipe_that_is_full_and_does_not_block() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    stream = _Lenient(writer, "w", closefd=False)
    while (size := os.fpathconf(writer, "PC_PIPE_BUF")) and _fits(writer, size):
        pass
    assert stream.write(b"x" * size) == size
    os.close(reader)
    os.close(writer)


def _fits(writer: int, size: int) -> bool:
    try:
        os.write(writer, b"x" * size)
    except BlockingIOError:
        return False
    return True


def test_replaced_streams_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here they are pytest's."""
    monkeypatch.setattr(sys, "__stdout__", object())
    monkeypatch.setattr(sys, "__stderr__", object())
    before = sys.stdin, sys.stdout, sys.stderr
    make_lenient()
    assert (sys.stdin, sys.stdout, sys.stderr) == before
    assert output_failure() is None


def test_a_closed_standard_input_is_at_eof() -> None:
    assert printed("make_lenient(); print(repr(sys.stdin.read()))", "<&-") == b"''\n"


def test_the_standard_descriptors_and_no_others_are_reserved() -> None:
    script = "make_lenient(); print(os.open(os.devnull, os.O_RDONLY))"
    assert printed(script) == b"3\n"
    assert printed(script, "<&- 2>&-") == b"3\n"


def test_the_encoding_is_kept_and_missing_characters_are_escaped() -> None:
    said = printed("make_lenient(); print('\\xe4\\u65e5')", PYTHONIOENCODING="latin-1")
    assert said == b"\xe4\\u65e5\n"


def test_earlier_output_comes_first() -> None:
    assert printed("print('first', end=' '); make_lenient(); print('then')") == b"first then\n"


def test_standard_error_is_written_line_by_line() -> None:
    script = "make_lenient(); print('x', file=sys.{}); os._exit(0)"
    assert printed(script.format("stderr"), PYTHONUNBUFFERED="") == b"x\n"
    assert printed(script.format("stdout"), PYTHONUNBUFFERED="") == b""
    assert printed(script.format("stderr"), PYTHONUNBUFFERED="1") == b"x\n"
    assert printed(script.format("stdout"), PYTHONUNBUFFERED="1") == b"x\n"


def test_a_full_standard_error_stops_nothing() -> None:
    script = "make_lenient(); print('lost', file=sys.stderr); print('done')"
    assert printed(script, "2> /dev/full") == b"done\n"


def test_a_failure_of_buffered_output_is_reported() -> None:
    script = "make_lenient(); print('x'); print(output_failure().strerror, file=sys.stderr)"
    assert printed(script, "> /dev/full") == b"No space left on device\n"


def test_the_descriptor_stays_open_when_the_stream_is_deleted() -> None:
    script = "make_lenient(); sys.stdout = sys.__stdout__; os.write(1, b'x')"
    assert printed(script) == b"x"
    script = "make_lenient(); sys.stdin = None; os.fstat(0); print('open')"
    assert printed(script, "<&-") == b"open\n"
