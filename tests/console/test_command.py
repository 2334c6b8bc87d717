"""shortsdb console as an operator starts and ends it, and the console inside an application."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from alembic import command
from browser import Browser, Page
from click.testing import CliRunner
from fastapi import FastAPI
from project import PROGRAMS

from shortsdb.cli import main
from shortsdb.console import mount
from shortsdb.console.server import is_loopback
from shortsdb.engine import create_engine
from shortsdb.migration.revisions import alembic_config
from shortsdb.web import health_router

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Database
    from sqlalchemy import Engine

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is tested
PASSWORD = "SHORTSDB_CONSOLE_PASSWORD"  # noqa: S105 - the name of the variable


@contextmanager
def console(
    *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """Run the command on a free port; give the process, the address and the lines so far."""
    process = subprocess.Popen(
        [PROGRAMS / "shortsdb", "console", "--port", "0", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"http://\S+/", line):
                yield process, found[0], lines
                return
        raise AssertionError("".join(lines))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def path(tmp_path: Path, head_file: Path) -> Path:
    """Return a file at head."""
    path = tmp_path / "head.db"
    shutil.copy(head_file, path)
    return path


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_ended(path: Path, end: signal.Signals) -> None:
    before = path.read_bytes()
    with console("--url", str(path)) as (process, address, lines):
        assert lines == [f"{path}: {address} (read-only); Ctrl-C ends it\n"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        with httpx.Client(base_url=address) as client:
            page = client.get("/")
            assert page.status_code == 200
            assert "server" not in page.headers
            ids = {re.findall(r"request (\w+)", client.get("/").text)[0] for _ in range(3)}
            assert len(ids) == 3  # each request is an operation of its own
            asked = client.get("/tables/clips", headers={"Host": "evil.example"})
            assert asked.status_code == 400
        process.send_signal(end)
        rest, _ = process.communicate(timeout=60)
        assert rest == ""
        assert process.returncode == (0 if end == signal.SIGINT else -signal.SIGTERM)
    assert path.read_bytes() == before


def test_an_export_that_is_cut_off_at_the_end_logs_no_traceback(path: Path) -> None:
    """Its reader is slow, so it has not ended when the console stops waiting for it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO config_overrides (key, value) VALUES (?, ?)",
            ((number, "x" * 100_000) for number in range(300)),
        )
    with (
        console("--url", str(path)) as (process, address, _),
        httpx.stream("GET", f"{address}export/config_overrides.csv") as answer,
    ):
        assert answer.status_code == 200
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert "Cancel 1 running task(s)" in rest
    assert "Traceback" not in rest
    assert process.returncode == 0


def test_a_server_is_named_without_its_password(target: Database) -> None:
    url = target.url.replace("shortsdb@", "shortsdb:hush@")
    with console("--url", url) as (process, address, lines):
        assert lines[0].startswith("postgresql+psycopg://shortsdb:***@/")
        page = httpx.get(address).text
        assert "The database is empty" in page
        assert httpx.get(f"{address}tables/clips").status_code == 503
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert "does not exist" in rest
    assert "hush" not in page + rest + "".join(lines)


def test_the_schema_that_is_named_is_shown(target: Database) -> None:
    command.upgrade(alembic_config(target.url, schema="one"), "head")
    for arguments, status in ((["--schema", "one"], 200), ([], 503)):
        with console("--url", target.url, *arguments) as (_, address, _):
            assert httpx.get(f"{address}tables/clips").status_code == status


def test_a_port_in_use_is_one_sentence(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(main, ["console", "--url", str(path), "--port", str(port)])
    assert done.exit_code == 1
    assert done.output == (
        f"Error: port {port} of 127.0.0.1 is in use; choose another with --port\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", EVERYWHERE], f"--host {EVERYWHERE} lets other machines read the database"),
        (["--host", "192.0.2.1"], f"set {PASSWORD}, and put TLS in front"),
        (["--host", ""], "it is empty"),
        (["--allowed-host", "a*b"], "the allowed host 'a*b' has an asterisk"),
        (["--port", "70000"], "70000 is not in the range"),
        (["--url", "mysql://h/d"], "which is not supported"),
        (["--url", "/nowhere/x.db"], "/nowhere/x.db does not exist; nothing was created"),
        (["--url", "/"], "is a folder, not a database file"),
        (["--url", ":memory:"], "a database in memory is gone when the command ends"),
    ],
)
@pytest.mark.timeout(60)  # a console that is not refused would serve
def test_what_cannot_be_served_is_refused(path: Path, arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["console", "--url", str(path), *arguments])
    assert done.exit_code in {1, 2}
    assert said in done.output


def test_a_password_that_nobody_can_type_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "p\udcff")  # a byte that is not UTF-8
    done = CliRunner().invoke(main, ["console", "--url", str(path), "--host", "192.0.2.1"])
    assert done.exit_code == 1
    assert done.output == f"Error: {PASSWORD} is not valid UTF-8, so no login can match it\n"


def test_an_address_that_is_not_of_this_machine_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "x")
    done = CliRunner().invoke(main, ["console", "--url", str(path), "--host", "192.0.2.1"])
    assert done.exit_code == 1
    assert re.search(r"the console cannot listen on 192\.0\.2\.1, port 8642: .+", done.output)


def test_for_other_machines_there_is_a_login(path: Path) -> None:
    with console(
        "--url", str(path), "--host", EVERYWHERE, "--allowed-host", "shorts.example",
        **{PASSWORD: "hush hush"},
    ) as (process, shown, lines):  # fmt: skip
        assert process.stdout is not None
        assert "TLS" in process.stdout.readline()
        assert "hush" not in "".join(lines)
        address = shown.replace(EVERYWHERE, "127.0.0.1")
        assert httpx.get(address).headers["location"] == "/login"
        named = httpx.get(f"{address}login", headers={"Host": "shorts.example"})
        assert named.status_code == 200
        assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        (EVERYWHERE, False),
        ("::", False),
        ("192.168.0.1", False),
        ("localhost.example", False),
        ("console.example", False),
    ],
)
def test_only_loopback_needs_no_password(host: str, loopback: bool) -> None:  # noqa: FBT001 - a case
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("module", ["starlette", "uvicorn", "jinja2"])
def test_without_the_extra_the_command_names_it(path: Path, module: str) -> None:
    script = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from shortsdb.cli import main
main(["console", "--url", {str(path)!r}])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is not installed: pip install 'shortsdb[console]'" in done.stderr
    assert module in done.stderr


def test_an_application_has_the_console_beside_its_health_pages(channel: Engine) -> None:
    app = FastAPI()
    app.include_router(health_router(channel))
    mount(app, channel, path="/ops/console", allow_changes=True)
    browser = Browser(app, "http://localhost")
    assert browser.get("/health/ready").json() == {"status": "ready"}
    home = browser.get("/ops/console/")
    assert home.status_code == 200
    page = Page(home.text)
    for link in page.links():
        assert link.startswith(("/ops/console/", "#")), link
        if link.startswith("/"):
            assert browser.get(link).status_code == 200
    for tag, attributes in page.tags:
        if tag in {"script", "link"}:
            asset = attributes.get("src") or attributes.get("href") or ""
            assert browser.get(asset).status_code == 200
    asked = browser.send("/ops/console/changes/set-override", key="k", value="v")
    done = browser.submit("/ops/console/changes/set-override", asked, confirmed="yes")
    assert done.headers["location"] == "/ops/console/tables/config_overrides/row?key=k"
    assert "content-security-policy" not in browser.get("/health/ready").headers


def test_a_mounted_console_with_a_password_has_its_login_below_its_path(path: Path) -> None:
    app = FastAPI()
    engine = create_engine(path)
    mount(app, engine, password="hush hush")  # noqa: S106 - made up
    browser = Browser(app, "http://localhost")
    assert browser.get("/console/").headers["location"] == "/console/login"
    answer = browser.send("/console/login", name="ann", password="hush hush")  # noqa: S106 - as above
    assert answer.headers["location"] == "/console/"
    assert "Path=/console" in answer.headers["set-cookie"]
    assert browser.get("/console/").status_code == 200
    engine.dispose()


def test_a_mounted_console_answers_to_the_names_that_are_allowed(path: Path) -> None:
    app = FastAPI()
    engine = create_engine(path)
    mount(app, engine, allowed_hosts=["console.example"])
    for host, status in (("console.example", 200), ("localhost", 200), ("other.example", 400)):
        assert Browser(app, f"http://{host}").get("/console/").status_code == status
    engine.dispose()


def test_consoles_below_each_other_have_logins_of_their_own(path: Path) -> None:
    app = FastAPI()
    engine = create_engine(path)
    for place in ("/admin/old", "/admin"):
        mount(app, engine, path=place, password=place)
    browser = Browser(app, "http://localhost")
    for place in ("/admin", "/admin/old"):
        browser.send(f"{place}/login", name="ann", password=place)
        assert browser.get(f"{place}/").status_code == 200
    assert browser.get("/admin/").status_code == 200
    engine.dispose()


def test_a_console_may_be_at_a_path_of_any_characters(path: Path) -> None:
    app = FastAPI()
    engine = create_engine(path)
    mount(app, engine, path="/a b/ü@", password="hush hush")  # noqa: S106 - made up
    browser = Browser(app, "http://localhost")
    answer = browser.send("/a b/ü@/login", name="ann", password="hush hush")  # noqa: S106 - as above
    assert "Path=/a%20b/%C3%BC@;" in answer.headers["set-cookie"]
    assert browser.get("/a b/ü@/").status_code == 200
    engine.dispose()
