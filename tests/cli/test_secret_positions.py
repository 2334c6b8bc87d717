"""Passwords are never printed, in any position of a URL-like text."""

from __future__ import annotations

import os
import re
import subprocess
import traceback
from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from alembic import command
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from project import PROGRAMS, ROOT
from sqlalchemy.exc import ArgumentError

from shortsdb.cli import main
from shortsdb.database import init_db
from shortsdb.engine import create_engine
from shortsdb.health import check_db_health
from shortsdb.migration.revisions import alembic_config
from shortsdb.url import display, file, parse

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = int(os.environ.get("SHORTSDB_TEST_ROUNDS", "20"))  # more in `make torture`
MARK = "S3CR3T"
# No server listens on port 1, so connecting fails at once.
SHAPES = [
    "postgresql://u:{raw}@127.0.0.1:1/d",
    "postgresql+psycopg://u:{quoted}@127.0.0.1:1/d",
    "postgresql+nodriver://u:{raw}@h/d",
    "postgres://u:{raw}@h/d",
    "nonsense://u:{raw}@h/d",
    "postgresql://u:{raw}@h:port/d",
    "postgresql://u:{quoted}/x@h/d",
    "postgresql://u:p@{quoted}@h/d",
    "postgresql://u@{quoted}@h/d",
    "postgresql://u%3A{quoted}@127.0.0.1:1/d",
    "postgresql://h/u:{quoted}@d",
    "postgresql://127.0.0.1:1/host=h%20password={quoted}",
    "postgresql://127.0.0.1:1/d?password={quoted}",
    "postgresql://127.0.0.1:1/d?user=u&password={quoted}&connect_timeout=1",
    "postgresql://127.0.0.1:1/d?password={quoted}&password={quoted}",
    "postgresql://127.0.0.1:1/d?sslpassword={quoted}",
    "postgresql://127.0.0.1:1/d?user=u:{quoted}",
    "postgresql://127.0.0.1:1/d?plugin={quoted}",
    "sqlite://u:{raw}@h/d",
    "sqlite:///u:{raw}@h/d.db",
    "sqlite:///x.db?password={quoted}",
    "sqlite:///x.db?timeout={quoted}",
    "jdbc:postgresql://127.0.0.1:1/d?user=u&password={quoted}",
    " postgresql://u:{raw}@h/d",
    "'postgresql://u:{raw}@h/d'",
    "postgresql:/u:{raw}@h/d",
    "postgresql:u:{raw}@h/d",
    "//u:{raw}@h/d",
    "u:{raw}@h/d",
    "file:u:{raw}@h",
    "host=h user=u password={raw}",
    "  password = '{raw}' host=h",
    "./x.db password={raw}",
    "dbname=d passwd='{raw}'",
]
ODD = st.text("@:/?#%=\\ '", max_size=3)
SECRETS = st.builds(lambda before, after: f"{before}{MARK}{after}", ODD, ODD)
# The arguments of each command, with the database.
CALLS = [
    ["upgrade", "--url", "{}"],
    ["upgrade", "{}"],
    ["upgrade", "--url", "x.db", "--backup", "{}"],
    ["downgrade", "base", "--yes", "--url", "{}"],
    ["downgrade", "-1", "--url", "{}"],
    ["downgrade", "{}", "--yes"],
    ["upgrade", "--url", "{}", "--sql"],
    ["upgrade", "--url", "{}", "--must-exist"],
    ["upgrade", "--url", "x.db", "--schema", "{}"],
    ["stamp", "0004", "--yes", "--url", "{}"],
    ["stamp", "{}", "--yes"],
    ["plan", "--url", "{}"],
    ["plan", "{}"],
    ["rehearse", "--url", "{}"],
    ["history", "--url", "{}"],
    ["status", "--url", "{}"],
    ["status", "--json", "--url", "{}"],
    ["status", "{}"],
    ["check", "--url", "{}"],
    ["health", "--url", "{}"],
    ["health", "--json", "--url", "{}"],
    ["backup", "--url", "{}"],
    ["backups", "--url", "{}"],
    ["verify", "{}"],
    ["verify", "--latest", "--url", "{}"],
    ["restore", "{}", "--yes", "--url", "x.db"],
    ["restore", "nothing.db", "--yes", "--url", "{}"],
    ["copy", "{}", "x.db"],
    ["copy", "x.db", "{}"],
    ["copy", "x.db", "postgresql://127.0.0.1:1/d", "--skip-invalid", "{}"],
    ["seed", "--url", "{}"],
    ["{}"],
    ["--url", "{}", "status"],
    ["--url={}", "status"],
    ["--ulr={}", "status"],
]


# Every shape with every call, and with secrets that would end a piece of a URL too early.
AWKWARD = ["{}", "p@{}", "{}/y", ":{}@", "'{} x", "#{}?", "{}%2"]
EVERYTHING = [
    (
        CALLS[number % len(CALLS)],
        SHAPES[number % len(SHAPES)],
        AWKWARD[number % len(AWKWARD)].format(MARK),
    )
    for number in range(len(CALLS) * len(SHAPES))
]


def filled(shape: str, secret: str) -> str:
    return shape.format(raw=secret, quoted=quote(secret, safe=""))


@settings(max_examples=30 * ROUNDS, deadline=None, database=None)
@given(shape=st.sampled_from(SHAPES), secret=SECRETS)
def test_no_displayed_url_contains_a_password(shape: str, secret: str) -> None:
    given_url = filled(shape, secret)
    try:
        url = parse(given_url)
    except ArgumentError:
        said = traceback.format_exc()
    else:
        said = f"{display(url)} {file(url)}"
    assert MARK not in said


@pytest.mark.parametrize("number", range(5 * ROUNDS))
def test_no_command_prints_a_password(
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    call, shape, secret = EVERYTHING[number % len(EVERYTHING)]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [part.replace("{}", filled(shape, secret)) for part in call])
    assert done.exc_info is not None
    said = [done.output, *map(str, tmp_path.rglob("*")), caplog.text]
    said += traceback.format_exception(*done.exc_info)
    assert MARK not in "".join(said)
    assert "Traceback" not in caplog.text


# What a driver says of the value of a parameter that takes no password is of use to programmers.
OF_FUNCTIONS = [shape for shape in SHAPES if not re.search(r"\?(plugin|timeout)=", shape)]


@pytest.mark.parametrize("shape", OF_FUNCTIONS)
def test_no_error_of_a_function_contains_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    url = filled(shape, AWKWARD[SHAPES.index(shape) % len(AWKWARD)].format(MARK))
    said = StringIO()
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: command.upgrade(alembic_config(url), "head"),
        lambda: command.current(alembic_config(url)),
        lambda: init_db(url),
        lambda: said.write(repr(create_engine(url))),
        lambda: said.write(repr(check_db_health(create_engine(url)))),
    ):
        with redirect_stderr(said):
            try:
                call()
            except Exception:  # noqa: BLE001 - what any of them says is the subject
                said.write(traceback.format_exc())
    assert MARK not in said.getvalue()


@pytest.mark.parametrize("form", ["plain", "json"])
@pytest.mark.parametrize("program", ["alembic", "shortsdb"])
def test_no_program_prints_a_password(tmp_path: Path, program: str, form: str) -> None:
    """The real programs, standard streams and exit code included."""
    url, libpq = (
        filled(shape, f"p@{MARK}") for shape in ("postgresql:/u:{raw}@h/d", "host=h password={raw}")
    )
    ini = ["-c", str(ROOT / "alembic.ini"), "-x"]
    calls = {
        "alembic": [[*ini, f"url={libpq}", "current"], [*ini, f"ulr={url}", "upgrade", "head"]],
        "shortsdb": [["upgrade", "--url", libpq], ["status", url]],
    }
    for arguments in calls[program]:
        done = subprocess.run(
            [PROGRAMS / program, *arguments],
            cwd=tmp_path,
            env={**os.environ, "SHORTSDB_LOG": form},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in {1, 2, 255}
        assert MARK not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_unusual_paths_can_be_written_in_full_or_with_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that the rule would refuse is written in full, or with ./ before it."""
    names = ["./a=b.db", "./12:30.db", str(tmp_path / "user@host.db"), "shorts@1.db", "sub/a=b.db"]
    monkeypatch.chdir(tmp_path)
    assert [parse(name).database for name in names] == [
        os.path.normpath(tmp_path / name) for name in names
    ]
