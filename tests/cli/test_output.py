"""Output of commands: safe on a terminal, and broken streams do not stop the work."""

from __future__ import annotations

import json
import os
import pty
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from inspect_sqlite import execute, version
from project import HEAD, PROGRAMS, ROOT

from shortsdb.cli import main

if TYPE_CHECKING:
    from postgresql_server import Database
    from project import Program

FORGED = "t\nINFO    shorts.db is now at 0008\x1b[2K\u202e"


def run(*arguments: object, **options: str) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), **options)  # type: ignore[arg-type]


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell, in which $S and $A are the two programs."""
    programs = {
        "S": str(PROGRAMS / "shortsdb"),
        "A": f"{PROGRAMS / 'alembic'} -c {shlex.quote(str(ROOT / 'alembic.ini'))}",
    }
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],  # noqa: S607 - where the system has it
        cwd=folder,
        env={**os.environ, **programs, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "streams",
    ["2>&-", ">&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full", "> /dev/full 2> /dev/full"],
)
@pytest.mark.parametrize("program", ["$S upgrade --url x.db", "$A -x url=x.db upgrade head"])
def test_the_work_is_done_even_if_the_report_fails(
    tmp_path: Path, program: str, streams: str
) -> None:
    done = shell(f"{program} {streams}", tmp_path)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert version(tmp_path / "x.db") == [HEAD]
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("$S status --url x.db > /dev/full", 1, "standard output could not be written"),
        ("$S --help > /dev/full", 1, "standard output could not be written"),
        ("$S status --url x.db > /dev/full 2> /dev/full", 1, ""),
        ("$S status --url x.db --exit-code >&-", 4, ""),
        ("$S backup --url h.db > /dev/full", 0, "done, but standard output could not be written"),
        ("$S upgrade --url s.db; $S seed --url s.db > /dev/full", 0, "done, but standard output"),
        ("$S status --url x.db --exit-code | true", 4, ""),
        ("$S nonsense 2> /dev/full", 2, ""),
        ("yes | $S downgrade -1 --url h.db > /dev/full", 1, "could not be printed"),
        ("$S downgrade -1 --url h.db < /dev/null", 1, "--yes answers for a script"),
        ("$S downgrade -1 --url h.db <&-", 1, "--yes answers for a script"),
    ],
)
def test_the_exit_code_is_right_despite_broken_streams(
    tmp_path: Path, head_file: Path, line: str, code: int, said: str
) -> None:
    (tmp_path / "h.db").write_bytes(head_file.read_bytes())
    execute(tmp_path / "h.db", "INSERT INTO config_overrides (key, value) VALUES ('a', 'b')")
    # `yes` ends by SIGPIPE, which is not the subject.
    done = shell(line.replace("yes |", "(yes; true) |"), tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert version(tmp_path / "h.db") == [HEAD]


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x04"], ids=["no", "return", "Ctrl-D"])
def test_no_is_an_answer_at_a_terminal_and_no_failure(
    tmp_path: Path, head_file: Path, answer: bytes
) -> None:
    (tmp_path / "h.db").write_bytes(head_file.read_bytes())
    keyboard, terminal = pty.openpty()
    os.write(keyboard, answer)
    done = subprocess.run(
        [PROGRAMS / "shortsdb", "downgrade", "-1", "--url", tmp_path / "h.db"],
        stdin=terminal,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(keyboard)
    os.close(terminal)
    assert (done.returncode, done.stderr) == (1, "Aborted!\n")
    assert version(tmp_path / "h.db") == [HEAD]


def test_a_copy_is_done_even_if_its_sums_cannot_be_printed(
    tmp_path: Path, head_file: Path, target: Database
) -> None:
    done = shell(f"$S copy {head_file} {shlex.quote(target.url)} > /dev/full", tmp_path)
    assert done.returncode == 0
    assert "done, but standard output could not be written" in done.stderr
    assert target.psql("SELECT version_num FROM alembic_version") == f"{HEAD}\n"


def test_arguments_that_are_not_understood_are_printed_without_control_characters() -> None:
    for arguments in (("status", FORGED), (FORGED,), (f"--{FORGED}",), ("status", f"--{FORGED}")):
        refused = run(*arguments)
        assert refused.exit_code == 2
        assert "t\\nINFO" in refused.output
        assert not {"\x1b", "\u202e"} & set(refused.output)


def test_no_file_is_opened_as_a_standard_stream(tmp_path: Path) -> None:
    """Otherwise output would be written into the database."""
    script = (
        "import os; from shortsdb.streams import make_lenient; make_lenient();"
        "new = os.open('database', os.O_CREAT | os.O_RDWR);"
        "print('into nothing');"
        "assert os.system('echo from a child && echo from a child >&2') == 0;"  # has streams too
        "os.write(new, repr([os.readlink(f'/proc/self/fd/{n}') for n in range(3)]).encode())"
    )
    line = f"{sys.executable} -c {shlex.quote(script)} <&- >&- 2>&-"
    assert shell(line, tmp_path).returncode == 0
    assert (tmp_path / "database").read_text() == repr(["/dev/null"] * 3)


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_a_path_that_the_terminal_cannot_encode(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / os.fsdecode(b"\xe4\xff \xc3\xa4")
    folder.mkdir()
    for program in ("$S upgrade --url x.db", "$S status --url x.db", "$S health --url x.db"):
        done = shell(program, folder, **environment)
        assert done.returncode == 0
        assert "\\udcff" in done.stdout + done.stderr
    made = shell("$S backup --json --url x.db", folder, **environment)
    assert Path(json.loads(made.stdout)["backup"]).exists()


def test_names_in_a_database_cannot_forge_output_lines(
    deployed_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = FORGED.replace('"', "")
    other = tmp_path / f"o{FORGED.replace('/', '')}.db"
    execute(other, f'CREATE TABLE "{name}" (a); CREATE TABLE clips ("{name}" INTEGER)')
    strange = tmp_path / "strange.db"
    assert run("upgrade", "--url", strange).exit_code == 0
    with closing(sqlite3.connect(strange)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (FORGED,))
        connection.commit()
    execute(deployed_file, f'CREATE TABLE o (a); CREATE TABLE "{name}" (x REFERENCES o (a))')
    execute(deployed_file, f'INSERT INTO o VALUES (1); INSERT INTO "{name}" VALUES (1)')
    for file in (other, strange, deployed_file):
        for call in (["status"], ["check"], ["health", "--thorough"], ["upgrade"], ["backup"]):
            for form in ([], ["--json"]):
                done = run(*call, *(form if call != ["upgrade"] else []), "--url", file)
                said = done.output + "".join(f"{message}\n" for message in caplog.messages)
                assert "\nINFO    shorts.db" not in said
                assert not set("\x1b\u202e").intersection(said)
                caplog.clear()


def test_a_version_of_ten_megabytes_is_not_printed(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    run("upgrade", "--url", file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", ("v" * 10_000_000,))
        connection.commit()
    for call in (["status"], ["check"], ["health"], ["upgrade"], ["seed"], ["downgrade", "-1"]):
        done = run(*call, "--url", file)
        assert done.exit_code in {0, 1}
        assert "vvv" in done.output
        assert len(done.output) < 20_000
    for name in ("status", "health"):
        assert len(run(name, "--json", "--url", file).output) < 20_000


def test_an_x_key_that_is_not_known_is_refused(alembic: Program, tmp_path: Path) -> None:
    done = alembic("-x", "ulr=other.db", "upgrade", "head")
    assert done.returncode != 0
    assert "-x knows url=…, backup=…, schema=…, must-exist=…, and not ulr" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_database_in_memory_is_refused(alembic: Program) -> None:
    for url in (
        "sqlite://",
        ":memory:",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=1",
    ):
        refused = run("upgrade", "--url", url)
        assert refused.exit_code == 1
        assert "a database in memory is gone when the command ends" in refused.output
    assert (
        "is gone when the command ends" in alembic("-x", "url=sqlite://", "upgrade", "head").stdout
    )


def test_a_tilde_is_expanded_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    assert run("upgrade", "--url", "~/a.db").exit_code == 0
    assert run("upgrade", "--url", "sqlite:///~/b.db").exit_code == 0
    (home / "kept").mkdir()
    assert run("backup", "--url", "~/a.db", "--backup", "~/kept").exit_code == 0
    assert {path.name for path in home.iterdir()} == {"a.db", "b.db", "kept"}
    for nobody in ("~nobody-at-all/a.db", "sqlite:///~nobody-at-all/a.db"):
        assert "there is no such user" in run("upgrade", "--url", nobody).output
    assert not list(here.iterdir())


def test_every_path_printed_is_absolute(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shortsdb")
    monkeypatch.chdir(deployed_file.parent)
    url = ("--url", deployed_file.name)
    assert run("status", *url).output.splitlines()[0].split()[1] == str(deployed_file)
    (deployed_file.parent / "kept").mkdir()
    made = run("backup", *url, "--backup", "kept").stdout.splitlines()[-1]
    assert Path(made).parent == deployed_file.parent / "kept"
    run("restore", os.path.relpath(made), "--yes", *url)
    run("upgrade", *url)
    run("check", "--url", "absent.db")
    for message in caplog.messages:
        for word in message.split():
            assert ".db" not in word or word.startswith("/"), message


def test_an_option_before_the_command_is_explained() -> None:
    refused = run("--url", "x.db", "status")
    assert refused.exit_code == 2
    assert "--url belongs after the command: shortsdb COMMAND --url …" in refused.output


def test_downgrade_to_base_is_refused_before_a_backup(
    deployed_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shortsdb")
    run("upgrade", "--url", deployed_file)
    backups = list(deployed_file.parent.glob("backups/*"))
    caplog.clear()
    refused = run("downgrade", "base", "--yes", "--url", deployed_file)
    assert refused.exit_code == 1
    assert "with the rows in it; nothing was changed" in refused.output
    assert not caplog.messages
    assert list(deployed_file.parent.glob("backups/*")) == backups
    assert version(deployed_file) == [HEAD]


def test_an_unexpected_error_is_logged_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError(FORGED)

    monkeypatch.setattr("shortsdb.cli.target.parse_target", broken)
    assert run("status", "--url", "x.db").exit_code == 1
    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert record.exc_info
