"""A password is printed nowhere, wherever in something like a URL it stands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import pytest
from alembic import command
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from project import PROGRAMS, ROOT

from shortsdb.cli import main
from shortsdb.database import init_db
from shortsdb.engine import create_engine
from shortsdb.health import check_db_health
from shortsdb.migration.revisions import alembic_config

MARK = "S3CR3T"
# No server listens on port 1, and the answer comes at once.
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
# What each command is told beside or as the database.
CALLS = [
    ["upgrade", "--url", "{}"],
    ["upgrade", "{}"],
    ["upgrade", "--url", "x.db", "--backup", "{}"],
    ["downgrade", "base", "--yes", "--url", "{}"],
    ["downgrade", "-1", "--url", "{}"],
    ["downgrade", "{}", "--yes"],
    ["status", "--url", "{}"],
    ["status", "--json", "--url", "{}"],
    ["status", "{}"],
    ["check", "--url", "{}"],
    ["health", "--url", "{}"],
    ["health", "--json", "--url", "{}"],
    ["backup", "--url", "{}"],
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


def filled(shape: str, secret: str) -> str:
    return shape.format(raw=secret, quoted=quote(secret, safe=""))


@pytest.mark.parametrize("shape", SHAPES)
@settings(
    max_examples=4,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(secret=SECRETS, call=st.sampled_from(CALLS))
def test_no_command_prints_it(
    caplog: pytest.LogCaptureFixture, shape: str, secret: str, call: list[str]
) -> None:
    arguments = [part.replace("{}", filled(shape, secret)) for part in call]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(main, arguments)
        made = [str(path) for path in Path(folder).rglob("*")]
    said = [done.output, *map(str, made), caplog.text]
    assert done.exc_info is not None
    said += traceback.format_exception(*done.exc_info)
    assert MARK not in "".join(said)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=2, deadline=None, database=None)
@given(secret=SECRETS)
def test_no_function_says_it(shape: str, secret: str) -> None:
    url = filled(shape, secret)
    said = StringIO()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
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
def test_no_program_prints_it(tmp_path: Path, program: str, form: str) -> None:
    """The real programs, standard streams and exit code included."""
    for shape in ("postgresql:/u:{raw}@h/d", "host=h password={raw}", "x://u:{raw}/y@h"):
        url = filled(shape, "p@" + MARK)
        ini = ["-c", str(ROOT / "alembic.ini"), "-x", f"url={url}"]
        calls = {
            "alembic": [[*ini, "upgrade", "head"], [*ini[:3], f"ulr={url}", "upgrade", "head"]],
            "shortsdb": [["upgrade", "--url", url], ["status", url]],
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


def test_where_it_may_stand_it_works(tmp_path: Path) -> None:
    """A path that the rule would refuse is written in full, or with ./ before it."""
    script = (
        "import json, sys; from shortsdb.url import parse;"
        "print(json.dumps([parse(given).database for given in json.load(sys.stdin)]))"
    )
    names = ["./a=b.db", "./12:30.db", str(tmp_path / "user@host.db"), "shorts@1.db", "sub/a=b.db"]
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        input=json.dumps(names),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [os.path.normpath(tmp_path / name) for name in names]
