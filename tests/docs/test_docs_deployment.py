"""The unit files, the Dockerfile and the crontab in docs/guides/operations.md are valid.

Their commands are run as they stand, but for where the package and the database are. Neither
systemd nor Docker nor cron is started.
"""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import legacy_database
import pytest
import shown_commands
from generated_docs import DOCS
from inspect_sqlite import version
from project import HEAD, PROGRAMS

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "/opt/shortsdb/bin"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Return the files of the page, with the package and the database in `tmp_path`."""
    legacy_database.make(tmp_path / "shorts.db")
    page = (DOCS / "guides" / "operations.md").read_text(encoding="utf-8")
    return {
        re.sub(r"^# (.*)\n", r"\1", block.text.splitlines(keepends=True)[0]): block.text.replace(
            PACKAGE, str(PROGRAMS)
        ).replace(shown_commands.SHOWN_FOLDER, str(tmp_path))
        for block in shown_commands.blocks(page)
        if block.language in {"ini", "dockerfile", "cron"}
    }


def settings(environment: str) -> dict[str, str]:
    lines = [line for line in environment.splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    # Use only the environment in the file, like systemd, Docker and cron.
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def test_units(files: dict[str, str], tmp_path: Path) -> None:
    environment = settings(files["/etc/shortsdb.env"])
    parsed = {}
    for path, text in files.items():
        if path.startswith("/etc/systemd/"):
            unit = configparser.ConfigParser(interpolation=None)
            unit.optionxform = str  # type: ignore[assignment,method-assign] # names have case
            unit.read_string(text)
            parsed[path.rpartition("/")[2]] = unit
    assert parsed.keys() == {
        "shortsdb-upgrade.service",
        "shortsdb-backup.service",
        "shortsdb-backup.timer",
        "database.conf",
    }
    assert parsed["database.conf"]["Unit"]["Requires"] in parsed
    assert parsed["shortsdb-backup.timer"]["Timer"]["OnCalendar"]
    for name in ("shortsdb-upgrade.service", "shortsdb-backup.service"):
        service = parsed[name]["Service"]
        assert service["EnvironmentFile"] == "/etc/shortsdb.env"
        for key in ("ExecStart", "ExecStartPost"):
            if key in service:
                run(shlex.split(service[key]), environment)
    assert version(tmp_path / "shorts.db") == [HEAD]
    assert len(list(tmp_path.glob("backups/shorts.*.db"))) == 2


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd itself does not look at the units"
)
def test_systemd_analyze_accepts_the_units(files: dict[str, str], tmp_path: Path) -> None:
    units = []
    for path, text in files.items():
        if path.startswith("/etc/systemd/system/shortsdb"):
            units.append(tmp_path / path.rpartition("/")[2])
            units[-1].write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],  # noqa: S607 - Debian's
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "shortsdb" in line]
    assert units
    assert not complaints


def test_crontab(files: dict[str, str], tmp_path: Path) -> None:
    lines = files["/etc/cron.d/shortsdb"].splitlines()[1:]
    environment = settings("\n".join(lines[:-1]))
    *when, user, command = lines[-1].split(maxsplit=6)
    assert all(re.fullmatch(r"[\d*/,-]+", field) for field in when)
    assert user == "shorts"
    command = command.replace("logger -t shortsdb", f"cat > {tmp_path}/log")
    run([environment["SHELL"], "-c", command], environment)
    assert len(list(tmp_path.glob("backups/shorts.0001-manual.*.db"))) == 1
    assert "backup of" in (tmp_path / "log").read_text(encoding="utf-8")
    (tmp_path / "shorts.db").unlink()
    failed = run([environment["SHELL"], "-c", command], environment)
    assert failed.stdout == "no backup: see the log\n"  # which cron mails


def test_dockerfile(files: dict[str, str], tmp_path: Path) -> None:
    """The image is not built: test_packaging.py installs the wheel with pip as it does."""
    instructions: dict[str, str] = {}
    for line in files["Dockerfile"].splitlines()[1:]:
        word, _, rest = line.partition(" ")
        assert word in {"FROM", "COPY", "RUN", "USER", "WORKDIR", "ENV", "ENTRYPOINT", "CMD"}
        instructions[word] = rest
    environment = settings(instructions["ENV"])
    (program,) = re.findall(r'"([^"]*)"', instructions["ENTRYPOINT"])
    default = re.findall(r'"([^"]*)"', instructions["CMD"])
    page = (DOCS / "guides" / "operations.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\$ docker run .* shortsdb(.*)$", page, re.MULTILINE)
    assert len(shown) == 3
    for arguments in shown:
        run([str(PROGRAMS / program), *(arguments.split() or default)], environment)
    assert version(tmp_path / "shorts.db") == [HEAD]
