"""A release is complete: installed outside the checkout, it upgrades a deployed file."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

import pytest
import release_check

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of the wheel, installed with the SQLAlchemy of this environment."""
    folder = tmp_path_factory.mktemp("release")
    wheel = release_check.build(folder / "dist")
    sqlalchemy = f"sqlalchemy=={installed_version('sqlalchemy')}"
    return release_check.install(wheel, folder / "venv", sqlalchemy)


def test_the_release_upgrades_and_downgrades_a_deployed_file(
    programs: Path, tmp_path: Path
) -> None:
    release_check.upgrade_and_downgrade(programs, tmp_path)
    (typed,) = programs.parent.glob("lib/python*/site-packages/shortsdb/py.typed")
    assert typed.is_file()


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("status", "--url", "postgresql+psycopg://user:secret@host/db"), "postgres"),
        (("diagram",), "diagram"),
    ],
)
def test_a_missing_extra_is_named(
    programs: Path, tmp_path: Path, arguments: tuple[str, ...], extra: str
) -> None:
    done = subprocess.run(
        [programs / "shortsdb", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"pip install 'shortsdb[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("sys.exit(3)", "exited with 3"),
        ("pass", "after the upgrade"),
        ("execute('CREATE TABLE scripts (id); DELETE FROM clips')", "after the upgrade"),
        ("sys.argv[1] == 'upgrade' and execute('CREATE TABLE t (id)')", "after the downgrade"),
    ],
)
def test_a_failing_release_check_is_reported(tmp_path: Path, script: str, message: str) -> None:
    program = tmp_path / "shortsdb"
    lines = [
        f"#!{sys.executable}",
        "import sqlite3, sys",
        "execute = sqlite3.connect('release.db', isolation_level=None).executescript",
        script,
    ]
    program.write_text("\n".join(lines), encoding="utf-8")
    program.chmod(0o755)
    with pytest.raises(release_check.ReleaseError, match=message):
        release_check.upgrade_and_downgrade(tmp_path, tmp_path)


def test_an_archive_with_index_warnings_fails_the_release_check(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "nothing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            "nothing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0\n"
        )
    with pytest.raises(release_check.ReleaseError, match="long_description"):
        release_check.check_archives(tmp_path)
