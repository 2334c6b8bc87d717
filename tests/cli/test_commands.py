"""The shortsdb command."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from alembic import command
from click.testing import CliRunner, Result
from inspect_sqlite import execute, file_hash, row_hashes, version
from other_user import STRANGER, needs_root, run_as
from project import HEAD, PROGRAMS
from sample_rows import fill_new_tables

from shortsdb.cli import COMMANDS, main
from shortsdb.cli.transfer import _exit_on_signals
from shortsdb.migration.revisions import alembic_config, revision_ids

if TYPE_CHECKING:
    from postgresql_server import Server
    from project import Program


def run(*arguments: str, **options: str) -> Result:
    return CliRunner().invoke(main, arguments, **options)  # type: ignore[arg-type]


def test_up_and_down(deployed_file: Path) -> None:
    before = row_hashes(deployed_file)
    url = ("--url", str(deployed_file))
    assert run("upgrade", *url).exit_code == 0
    assert version(deployed_file) == [HEAD]
    fill_new_tables(deployed_file)
    asked = run("downgrade", "0006", *url, input="n\n")
    assert asked.exit_code == 1
    assert "config_overrides would go, with 2 rows in it" in asked.output
    assert "error_logs would go, with 2 rows in it" in asked.output
    assert "scripts" not in asked.output
    assert version(deployed_file) == [HEAD]
    assert run("downgrade", "-1", *url, input="y\n").exit_code == 0
    assert run("downgrade", "0001", "--yes", *url).exit_code == 0
    assert version(deployed_file) == ["0001"]
    assert row_hashes(deployed_file) == before


def test_a_refusal_is_one_message_and_exit_code_1(deployed_file: Path) -> None:
    before = file_hash(deployed_file)
    environment = {"SHORTSDB_URL": str(deployed_file)}
    refused = CliRunner().invoke(main, ["downgrade", "0001", "--yes"], env=environment)
    assert refused.exit_code == 1
    assert refused.output.startswith("Error: ")
    assert "has no version" in refused.output
    assert file_hash(deployed_file) == before


def test_status_changes_nothing(deployed_file: Path, tmp_path: Path) -> None:
    before = file_hash(deployed_file)
    status = json.loads(run("status", "--json", "--url", str(deployed_file)).output)
    assert status == {
        "database": str(deployed_file),
        "revision": None,
        "shape": "0001",
        "misfit": None,
        "known": True,
        "head": HEAD,
        "pending": [f"{number:04}" for number in range(2, int(HEAD) + 1)],
        "exists": True,
        "size_bytes": deployed_file.stat().st_size,
        "journal_mode": "delete",
        "last_backup": None,
    }
    assert "upgrade will adopt it there" in run("status", "--url", str(deployed_file)).output
    assert file_hash(deployed_file) == before

    run("upgrade", "--url", str(deployed_file))
    status = json.loads(run("status", "--json", "--url", str(deployed_file)).output)
    assert status["revision"] == HEAD
    assert status["pending"] == []
    assert "/backups/deployed.0001-upgrade." in status["last_backup"]

    absent = tmp_path / "absent.db"
    assert run("status", "--url", str(absent)).output == (
        f"database:     {absent} does not exist\nhead:         {HEAD}\n"
    )
    assert not absent.exists()


def test_status_reports_by_its_exit_code(deployed_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    execute(other, "CREATE TABLE users (id INTEGER PRIMARY KEY)")
    for url, code in ((deployed_file, 3), (tmp_path / "absent.db", 4), (other, 1)):
        for form in ([], ["--json"]):
            found = run("status", "--exit-code", *form, "--url", str(url))
            assert found.exit_code == code
            assert found.output == run("status", *form, "--url", str(url)).output
        assert run("status", "--url", str(url)).exit_code == 0
    run("upgrade", "--url", str(deployed_file))
    assert run("status", "--exit-code", "--url", str(deployed_file)).exit_code == 0
    execute(deployed_file, "UPDATE alembic_version SET version_num = '0999'")
    assert run("status", "--exit-code", "--url", str(deployed_file)).exit_code == 1


def test_status_of_files_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    execute(path, "CREATE TABLE users (id INTEGER PRIMARY KEY)")
    status = json.loads(run("status", "--json", "--url", str(path)).output)
    assert "table clips is missing" in status["misfit"]
    assert status["pending"] == []
    assert not status["known"]
    assert "pending" not in run("status", "--url", str(path)).output


def test_check_lists_broken_foreign_keys_and_drift(deployed_file: Path) -> None:
    execute(deployed_file, "UPDATE clips SET pipeline_run_id = 777 WHERE id < 3")
    url = ("--url", str(deployed_file))
    run("upgrade", *url)
    found = run("check", *url)
    assert found.exit_code == 1
    assert "clips (pipeline_run_id): 2 rows point to rows of pipeline_runs" in found.output
    assert "The schema is what the models say." in found.output
    as_json = json.loads(run("check", "--json", *url).output)
    assert as_json["broken_keys"] == [
        {
            "table": "clips",
            "columns": "pipeline_run_id",
            "referred_table": "pipeline_runs",
            "rows": 2,
        }
    ]
    execute(deployed_file, "UPDATE clips SET pipeline_run_id = 1; DROP INDEX idx_analytics_video")
    assert run("check", *url).exit_code == 0  # an index only makes queries fast


def test_check_prints_one_line_per_difference(deployed_file: Path) -> None:
    url = ("--url", str(deployed_file))
    run("upgrade", *url)
    execute(
        deployed_file,
        "ALTER TABLE shorts DROP COLUMN title; DROP TABLE config_overrides; DROP TABLE tts_audio;"
        "CREATE TABLE tts_audio (id INTEGER PRIMARY KEY, pipeline_run_id INTEGER NOT NULL,"
        " engine_used VARCHAR, voice_profile INTEGER, audio_file_path VARCHAR,"
        " duration_seconds FLOAT, generated_at DATETIME NOT NULL DEFAULT (CURRENT_TIMESTAMP))",
    )
    # engine_used may be NULL, as in a file that was adopted so: that is accepted.
    expected = [
        "table config_overrides is missing",
        "column shorts.title (VARCHAR) is missing",
        "column tts_audio.voice_profile is INTEGER where the models say VARCHAR",
        "the foreign key of tts_audio (pipeline_run_id) to pipeline_runs is missing",
    ]
    found = run("check", *url)
    assert found.exit_code == 1
    *lines, advice, keys = found.output.splitlines()
    assert sorted(lines) == sorted(expected)
    assert "alembic revision --autogenerate" in advice
    assert keys == "No foreign key is broken."
    as_json = json.loads(run("check", "--json", *url).output)
    assert sorted(as_json["drift"]) == sorted(expected)


def test_check_prints_the_differences_of_postgresql(postgres: Server) -> None:
    database = postgres.create_database()
    url = ("--url", database.url)
    assert run("upgrade", *url).exit_code == 0
    assert run("check", *url).exit_code == 0
    database.psql(
        "DROP INDEX idx_analytics_video; ALTER TABLE shorts ALTER status SET DEFAULT 'x';"
        " ALTER TABLE review_logs ALTER auto_held DROP DEFAULT;"
        " ALTER TABLE discovered_videos DROP CONSTRAINT uq_discovered_videos_video_id"
    )
    found = run("check", *url)
    assert found.exit_code == 1
    assert set(found.output.splitlines()[:4]) == {
        "index idx_analytics_video on analytics (youtube_video_id, measured_at) is missing",
        "column shorts.status has the default 'x'::character varying where the models say pending",
        "column review_logs.auto_held has the default none where the models say 0",
        "the unique constraint on discovered_videos (video_id) is missing",
    }


def test_check_explains_why_it_does_not_compare(deployed_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    execute(other, "CREATE TABLE users (id INTEGER PRIMARY KEY)")
    strange = tmp_path / "strange.db"
    run("upgrade", "--url", str(strange))
    execute(strange, "UPDATE alembic_version SET version_num = '0999'")
    for path, phrase, code in (
        (tmp_path / "absent.db", "absent.db does not exist; check the path", 4),
        (deployed_file, "revision none, but the shape of 0001, pending 0002, 0003", 1),
        (other, "does not fit the schema", 1),
        (strange, "is at revision 0999, which this release does not know", 1),
    ):
        found = run("check", "--url", str(path))
        assert found.exit_code == code
        assert phrase in found.output
        # For a foreign file there is one sentence, without advice that does not apply.
        assert ("No foreign key is broken" in found.output) == (path == deployed_file)
        assert "nothing was changed" not in found.output.lower()
        assert "The schema is what the models say" not in found.output
    assert not (tmp_path / "absent.db").exists()


def test_downgrade_refuses_before_it_asks(deployed_file: Path) -> None:
    url = ("--url", str(deployed_file))
    before = file_hash(deployed_file)
    refused = run("downgrade", "0001", *url, input="y\n")
    assert refused.exit_code == 1
    assert "has no version, so there is nothing to downgrade" in refused.output
    assert "[y/N]" not in refused.output
    assert file_hash(deployed_file) == before
    run("upgrade", *url)
    execute(deployed_file, "UPDATE alembic_version SET version_num = '0999'")
    refused = run("downgrade", "0001", *url, input="y\n")
    assert "newer code made it" in refused.output
    assert "[y/N]" not in refused.output


def test_backup_and_restore(deployed_file: Path) -> None:
    url = ("--url", str(deployed_file))
    rows = row_hashes(deployed_file)
    made = CliRunner().invoke(main, ["backup", *url])
    backup = made.stdout.strip()
    assert row_hashes(Path(backup)) == rows
    run("upgrade", *url)
    kept = run("restore", backup, *url, input="n\n")
    assert kept.exit_code == 1
    assert f"(revision {HEAD}) by" in kept.output
    assert version(deployed_file) == [HEAD]
    assert run("restore", backup, "--yes", *url).exit_code == 0
    assert row_hashes(deployed_file) == rows


def test_backup_in_json(deployed_file: Path) -> None:
    made = CliRunner().invoke(main, ["backup", "--json", "--url", str(deployed_file)])
    found = json.loads(made.stdout)
    assert found == {
        "backup": found["backup"],
        "revision": "0001",
        "size_bytes": deployed_file.stat().st_size,
    }
    assert row_hashes(Path(found["backup"])) == row_hashes(deployed_file)


def test_seed_fills_an_empty_database_only(deployed_file: Path, tmp_path: Path) -> None:
    for path, phrase in (
        (tmp_path / "absent.db", "absent.db does not exist; check the path"),
        (deployed_file, "is behind the models"),
    ):
        refused = run("seed", "--url", str(path))
        assert refused.exit_code == 1
        assert phrase in refused.output
    assert not (tmp_path / "absent.db").exists()
    new = tmp_path / "new.db"
    run("upgrade", "--url", str(new))
    done = run("seed", "--url", str(new))
    assert done.exit_code == 0
    assert "pipeline_runs: 252 rows" in done.output
    before = row_hashes(new)
    refused = run("seed", "--url", str(new))
    assert refused.exit_code == 1
    assert "analytics has rows: only an empty database is seeded" in refused.output
    assert row_hashes(new) == before


def test_health(deployed_file: Path, tmp_path: Path, postgres: Server) -> None:
    before = file_hash(deployed_file)
    found = run("health", "--url", str(deployed_file))
    assert found.exit_code == 1
    assert "revision:     none; it has the shape of 0001" in found.output
    assert "problems:     revisions are pending: 0002, 0003" in found.output
    assert file_hash(deployed_file) == before  # its journal mode too
    assert os.listdir(tmp_path) == ["deployed.db"]  # noqa: PTH208 - names are compared
    run("upgrade", "--url", str(deployed_file))
    found = run("health", "--url", str(deployed_file), "--thorough")
    assert found.exit_code == 0
    assert "problems:     none" in found.output
    as_json = json.loads(run("health", "--json", "--url", str(deployed_file)).output)
    assert as_json["ok"]
    assert as_json["journal_mode"] == "delete"
    assert "/backups/deployed.0001-upgrade." in as_json["last_backup"]
    execute(deployed_file, "UPDATE clips SET pipeline_run_id = 777 WHERE id < 3")
    assert run("health", "--url", str(deployed_file)).exit_code == 0
    assert run("health", "--thorough", "--url", str(deployed_file)).exit_code == 1
    absent = tmp_path / "absent.db"
    as_json = json.loads(run("health", "--json", "--url", str(absent)).output)
    assert (as_json["ok"], as_json["reachable"]) == (False, False)
    assert not absent.exists()
    assert run("health", "--url", str(tmp_path)).exit_code == 1
    as_json = json.loads(run("health", "--json", "--url", postgres.create_database().url).output)
    assert (as_json["reachable"], as_json["revision"]) == (True, None)
    assert as_json["pending"] == revision_ids()


def test_restore_refuses_unknown_revisions(deployed_file: Path, tmp_path: Path) -> None:
    before = file_hash(deployed_file)
    other = tmp_path / "other.db"
    execute(other, "CREATE TABLE users (id INTEGER PRIMARY KEY)")
    refused = run("restore", str(other), "--yes", "--url", str(deployed_file))
    assert refused.exit_code == 1
    assert "which this release does not know" in refused.output
    assert file_hash(deployed_file) == before


def test_colours_are_for_terminals_only(deployed_file: Path) -> None:
    """Standard output is a terminal of ours; script(1) would do the same."""
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        terminal, program = pty.openpty()
        done = subprocess.run(
            [PROGRAMS / "shortsdb", "status", "--url", deployed_file],
            stdout=program,
            env={**os.environ, **environment},
            check=False,
        )
        os.close(program)
        printed = b""
        with contextlib.suppress(OSError), open(terminal, "rb", buffering=0) as output:  # noqa: PTH123 - a descriptor
            while part := output.read(4096):
                printed += part
        assert done.returncode == 0
        assert b"pending:" in printed
        assert (b"\x1b[" in printed) == coloured
    assert "\x1b[" not in run("status", "--url", str(deployed_file)).output


def test_wrong_usage_is_exit_code_2() -> None:
    assert run("restore", "x", "--url", "postgresql://h/d").exit_code == 2
    assert run("downgrade").exit_code == 2


def test_asking_for_the_wrong_direction_is_explained(
    tmp_path: Path, postgres: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shortsdb")
    for url in (str(tmp_path / "x.db"), postgres.create_database().url):
        run("upgrade", "0006", "--url", url)
        caplog.clear()
        assert run("upgrade", "0003", "--url", url).exit_code == 0
        assert "is at 0006 already, which is past 0003: nothing to do" in caplog.text
        run("upgrade", "--url", url)
        caplog.clear()
        command.upgrade(alembic_config(url), "heads")
        command.stamp(alembic_config(url), "head")
        assert caplog.text.count(f"is at {HEAD} already: nothing to do") == 2
        run("downgrade", "0006", "--yes", "--url", url)
        for arguments, why in (
            (["downgrade", HEAD, "--yes"], f"is not past {HEAD}, and downgrade only goes back"),
            (["downgrade", HEAD], f"is not past {HEAD}, and downgrade only goes back"),
            (["downgrade", "0042", "--yes"], f"'0042': this release knows 0001 to {HEAD}"),
            (["downgrade", "0042"], f"'0042': this release knows 0001 to {HEAD}"),
            (["upgrade", "0042"], f"'0042': this release knows 0001 to {HEAD}"),
            (
                ["upgrade", "+9"],
                f"produce 9 migrations: this release knows 0001 to {HEAD}",
            ),
        ):
            refused = run(*arguments, "--url", url)
            assert refused.exit_code == 1
            assert why in refused.output
        assert json.loads(run("status", "--json", "--url", url).output)["revision"] == "0006"


HEAVY = "{'sqlalchemy', 'alembic', 'fastapi'} & set(sys.modules)"


def python(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_no_slow_module(arguments: list[str]) -> None:
    printed = python(
        "import sys; from shortsdb.cli import main;"
        f"main({arguments}, standalone_mode=False); print({HEAVY})"
    )
    assert "Usage:" in printed
    assert printed.endswith("set()\n")


def test_the_help_of_all_commands_imports_none_of_them() -> None:
    printed = python(
        "import sys; from shortsdb.cli import main; main(['--help'], standalone_mode=False);"
        "print([name for name in sys.modules if name.startswith('shortsdb.cli.')])"
    )
    assert printed.endswith("[]\n")


@pytest.mark.parametrize(
    ("words", "found"), [("shortsdb st", "status"), ("shortsdb status --j", "--json")]
)
def test_completion_imports_no_slow_module(words: str, found: str) -> None:
    printed = python(
        "import atexit, sys; from shortsdb.cli import main;"
        f"atexit.register(lambda: print({HEAVY})); main(prog_name='shortsdb')",
        _SHORTSDB_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(words.count(" ")),
    )
    assert found in printed
    assert printed.endswith("set()\n")


def test_the_command_table_matches_the_commands() -> None:
    help_text = " ".join(run("--help").output.split())
    for name, (_, summary) in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.name == name
        assert " ".join((command.help or "").split("\n\n")[0].split()) == summary
        assert summary in help_text
    assert run("upgrad").exit_code == 2


def test_an_empty_argument_is_wrong_usage(deployed_file: Path) -> None:
    """A script's unset variable must not mean another database."""
    before = file_hash(deployed_file)
    environment = {"SHORTSDB_URL": str(deployed_file)}
    for arguments in (["upgrade", "--url", ""], ["upgrade", ""], ["downgrade", "", "--yes"]):
        assert CliRunner().invoke(main, arguments, env=environment).exit_code == 2
    assert file_hash(deployed_file) == before


def test_odd_paths_are_refused_in_one_message(tmp_path: Path) -> None:
    for given, phrase in (
        (str(tmp_path / ("x" * 300)), "File name too long"),
        ("sqlite:///file:x.db?uri=true", "a file: URI cannot be migrated"),
        ("sqlite:x.db", "neither a URL nor plausibly a path"),
        ("sqlite://x.db", "the database URL is malformed"),
    ):
        refused = run("upgrade", "--url", given)
        assert refused.exit_code == 1
        assert phrase in refused.output
    assert not list(tmp_path.iterdir())


def test_check_accepts_an_invalid_foreign_key_of_other_software(deployed_file: Path) -> None:
    execute(deployed_file, "CREATE TABLE o (a); CREATE TABLE p (x REFERENCES o (a))")
    execute(deployed_file, "INSERT INTO o VALUES (1); INSERT INTO p VALUES (1)")
    execute(deployed_file, "UPDATE clips SET pipeline_run_id = 777 WHERE id < 3")
    run("upgrade", "--url", str(deployed_file))
    found = run("check", "--url", str(deployed_file))
    assert "clips (pipeline_run_id): 2 rows point to rows of pipeline_runs" in found.output


def test_a_path_that_leads_nowhere_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    url = ("--url", str(tmp_path / "unmounted" / "a.db"))
    assert run("status", "--exit-code", *url).exit_code == 4
    assert run("check", *url).exit_code == 4
    health = run("health", "--json", *url)
    assert health.exit_code == 1
    assert json.loads(health.output)["problems"] == ["the file does not exist"]
    refused = run("upgrade", *url)
    assert "unmounted does not exist; check the path, mount its disk" in refused.output


@pytest.mark.parametrize("to", ["0001", "-1", "base"])
def test_no_file_is_created_by_going_back(tmp_path: Path, to: str) -> None:
    refused = run("downgrade", to, "--yes", "--url", str(tmp_path / "typo.db"))
    assert refused.exit_code == 1
    assert "typo.db does not exist; nothing was created" in refused.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("downgrade", "0001"), ("stamp", "0001")])
def test_the_alembic_program_creates_no_file_either(
    alembic: Program, tmp_path: Path, command: tuple[str, str]
) -> None:
    refused = alembic("-x", "url=typo.db", *command)
    assert refused.returncode
    assert "typo.db does not exist; nothing was created" in refused.stdout
    assert not list(tmp_path.iterdir())


@needs_root
@pytest.mark.parametrize(
    "arguments",
    [
        *([name] for name in ("status", "check", "health", "plan", "history", "backup", "upgrade")),
        *([name, "0001", "--yes"] for name in ("downgrade", "stamp")),
        *(["rehearse"], ["backups"], ["verify", "--latest"], ["restore", "--latest", "--yes"]),
    ],
    ids=" ".join,
)
def test_a_folder_that_this_user_may_not_enter_is_refused(
    reachable: Path, arguments: list[str]
) -> None:
    closed = reachable / "closed"
    closed.mkdir(mode=0o700)
    (closed / "a.db").touch()

    def as_stranger() -> tuple[int, str]:
        found = run(*arguments, "--url", str(closed / "a.db"))
        return found.exit_code, found.output

    code, said = run_as(STRANGER, as_stranger)
    assert code == 1
    assert "no permission to access the folder" in said


def test_a_reader_that_has_left_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")  # as a stream of the caller does

    monkeypatch.setattr("shortsdb.cli.target.parse_target", broken)
    done = run("status", "--url", "x.db")
    assert (done.exit_code, done.output) == (1, "")


@pytest.mark.parametrize("command", ["health", "console", "status", "check", "upgrade"])
def test_a_driver_that_is_not_there_is_named(command: str) -> None:
    refused = run(command, "--url", "postgresql+pg8000://localhost/d")
    assert refused.exit_code == 1
    assert "driver postgresql+pg8000 is not installed" in refused.output


def test_an_error_of_the_system_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "a\n\x1b[2J")

    monkeypatch.setattr("shortsdb.cli.target.parse_target", broken)
    done = run("status", "--url", "x.db")
    assert done.exit_code == 1
    assert done.output == "Error: [Errno 5] a\\n\\x1b[2J\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_copy_by_an_exception_unless_it_is_ignored(number: signal.Signals) -> None:
    def end() -> None:
        assert signal.getsignal(number) is not signal.SIG_DFL  # which would end the tests
        signal.raise_signal(number)

    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended, _exit_on_signals():
            end()
        assert ended.value.code == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)  # as nohup does
        with _exit_on_signals():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("option", ["--url", "--schema"])
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_option_is_not_the_default(option: str, value: str) -> None:
    refused = run("status", option, value)
    assert refused.exit_code == 2
    assert "it is empty" in refused.output
