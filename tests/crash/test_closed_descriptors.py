"""Commands started with closed standard streams open no file in their place.

A file that is opened while descriptor 0, 1 or 2 is closed gets that number, and whatever is printed
is written into it: https://sqlite.org/howtocorrupt.html, section 2.1.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from database_state import damage
from inspect_sqlite import row_hashes, version
from project import HEAD, PROGRAMS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

STREAMS = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"]
SHORTSDB = f"{PROGRAMS / 'shortsdb'} {{}} --url deployed.db"
ALEMBIC = f"{PROGRAMS / 'alembic'} -c {shlex.quote(str(ROOT / 'alembic.ini'))} -x url=deployed.db"
COMMANDS = {
    "shortsdb": [
        SHORTSDB.format("upgrade"),
        SHORTSDB.format("backup"),
        SHORTSDB.format("restore saved.db --yes"),
        SHORTSDB.format("upgrade"),
    ],
    "alembic": [f"{ALEMBIC} upgrade head", f"{ALEMBIC} downgrade 0001", f"{ALEMBIC} upgrade head"],
}


def opened_as_streams(line: str, folder: Path) -> set[str]:
    """Run a shell command in a folder, and return the files opened there as descriptors 0 to 2."""
    trace = folder.parent / "trace"
    strace = ["strace", "-f", "-y", "-e", "trace=open,openat,creat", "-o", str(trace)]
    # The command itself closes the streams, because strace needs its own.
    done = subprocess.run(
        [*strace, "bash", "-c", line],
        cwd=folder,
        env={**os.environ, "SHORTSDB_LOCK_TIMEOUT": "60"},
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    opened = re.findall(
        rf" = ([0-9]+)<{re.escape(str(folder))}/([^>]+)>$", trace.read_text(), re.MULTILINE
    )
    assert opened
    return {name for number, name in opened if int(number) < 3}


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("program", COMMANDS)
def test_commands_open_no_file_as_a_standard_stream(
    deployed_file: Path, program: str, streams: str
) -> None:
    before = row_hashes(deployed_file)["clips"]
    shutil.copy(deployed_file, deployed_file.with_name("saved.db"))
    line = f"exec {streams}; {' && '.join(COMMANDS[program])}"
    assert opened_as_streams(line, deployed_file.parent) == set()
    backups = list(deployed_file.parent.glob("backups/*.db"))
    assert backups
    for file in (deployed_file, *backups):
        assert damage(file) is None
        assert row_hashes(file)["clips"] == before
    assert version(deployed_file) == [HEAD]


@pytest.mark.parametrize("streams", STREAMS)
def test_control_a_program_without_protection_is_detected(
    deployed_file: Path, streams: str
) -> None:
    """The control: a new file gets the lowest free number, which is that of a closed stream."""
    script = "import os; os.open('made', os.O_CREAT | os.O_RDWR)"
    line = f"exec {streams}; {sys.executable} -c {shlex.quote(script)}"
    assert opened_as_streams(line, deployed_file.parent) == {"made"}
