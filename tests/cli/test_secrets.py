"""No command prints or logs the password of a URL, whether it succeeds or fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from project import HEAD, ROOT

from shortsdb.cli import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Server

ENCODED, DECODED = "p%40ss-w%25rd", "p@ss-w%rd"
# The arguments of each command besides the database; a new command needs a line here.
ARGUMENTS: dict[str, list[list[str]]] = {
    "upgrade": [[], ["0004"]],
    "downgrade": [["0001", "--yes"], ["0001"], ["nonsense"]],
    "stamp": [["0004", "--yes"], ["0004"]],
    "status": [[], ["--json", "--exit-code"]],
    "plan": [[], ["0001", "--json"], ["--sql"]],
    "rehearse": [[], ["--json"]],
    "history": [[], ["--json"]],
    "check": [[], ["--json"]],
    "health": [[], ["--json", "--thorough"]],
    "backup": [[], ["--json"]],
    "backups": [[], ["--json"]],
    "verify": [["--latest"], ["nothing.db"]],
    "restore": [["nothing.db", "--yes"], ["--latest", "--yes"]],
    "seed": [[]],
    # An address of no machine: it would serve otherwise.
    "console": [["--host", "192.0.2.1"]],
    "diagram": [[]],
    "copy": [["nothing.db"], ["--json", "nothing.db"]],
}
# All calls run in one process, and the first one sets up logging.
RUN = """
import json, sys
{imports}
for arguments in json.load(sys.stdin):
    print("#", flush=True)
    try:
        {call}
    except SystemExit as end:
        print("# ended:", end.code, flush=True)
"""
PROGRAMS = {
    "shortsdb": RUN.format(
        imports="from shortsdb.cli import main", call="main(arguments, prog_name='shortsdb')"
    ),
    "alembic": RUN.format(
        imports="from alembic.config import main",
        call=f"main(['-c', {str(ROOT / 'alembic.ini')!r}, *arguments], prog='alembic')",
    ),
}


def urls(server: Server, folder: Path) -> list[str]:
    database = server.create_database()
    works = database.url.replace("shortsdb@", f"shortsdb:{ENCODED}@")
    assert ENCODED in works
    return [
        works,
        f"postgresql+psycopg://user:{ENCODED}@/d?host={folder}",  # no server there
        f"postgresql+psycopg://user:{ENCODED}@nowhere.invalid/d",
        f"postgresql+nodriver://user:{ENCODED}@h/d",
        f"postgresql://user:{ENCODED}@h:port/d",
        f"nonsense://user:{ENCODED}@h/d",
        f"sqlite://user:{ENCODED}@h/d",
    ]


def calls(program: str, url: str) -> list[list[str]]:
    if program == "alembic":
        commands = ("upgrade head", "current -v", "check", "downgrade -1", "stamp head", "history")
        return [["-x", f"url={url}", *command.split()] for command in commands]
    assert ARGUMENTS.keys() == COMMANDS.keys()
    database: dict[str, list[str]] = {"diagram": [], "copy": [url]}
    return [
        [command, *arguments, *database.get(command, ["--url", url])]
        for command in COMMANDS
        for arguments in ARGUMENTS[command]
    ] + [["copy", url, "new.db"]]


@pytest.mark.parametrize("form", ["plain", "json"])
@pytest.mark.parametrize("program", ["shortsdb", "alembic"])
def test_no_output_contains_the_password(
    postgres: Server, tmp_path: Path, program: str, form: str
) -> None:
    todo = [call for url in urls(postgres, tmp_path) for call in calls(program, url)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[program]],
        input=json.dumps(todo),
        cwd=tmp_path,
        env={**os.environ, "SHORTSDB_LOG": form, "SHORTSDB_CONSOLE_PASSWORD": DECODED},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert "Traceback" not in printed
    assert printed.splitlines().count("#") == len(todo)
    assert "postgresql+psycopg://user:***@nowhere.invalid/d" in printed  # it was spoken of
    assert f"is now at {HEAD}" in printed
    for secret in (ENCODED, DECODED, "ss-w"):
        assert secret not in printed
