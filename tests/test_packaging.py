"""The wheel is complete by itself: installed away from the checkout it upgrades a deployed file."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

import deployed
from conftest import ROOT
from inspect_sqlite import row_hashes, version

if TYPE_CHECKING:
    from pathlib import Path


def test_the_wheel_upgrades_a_deployed_file(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "dist", ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    sqlalchemy = f"sqlalchemy=={installed_version('sqlalchemy')}"
    subprocess.run(
        [programs / "python", "-m", "pip", "install", "--quiet", wheel, sqlalchemy],
        check=True,
        capture_output=True,
    )
    path = deployed.make(tmp_path / "deployed.db")
    before = row_hashes(path)

    upgraded = subprocess.run(
        [programs / "shortsdb", "upgrade", "--url", "deployed.db"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "deployed.db is now at 0008" in upgraded.stderr
    assert version(path) == ["0008"]
    assert row_hashes(path).items() >= before.items()
    (typed,) = programs.parent.glob("lib/python*/site-packages/shortsdb/py.typed")
    assert typed.is_file()

    without_driver = subprocess.run(
        [programs / "shortsdb", "status", "--url", "postgresql+psycopg://user:secret@host/db"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert without_driver.returncode == 1
    assert "pip install 'shortsdb[postgres]'" in without_driver.stderr
    assert "Traceback" not in without_driver.stderr
    assert "secret" not in without_driver.stderr

    without_extra = subprocess.run(
        [programs / "shortsdb", "diagram"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert without_extra.returncode == 1
    assert "pip install 'shortsdb[diagram]'" in without_extra.stderr
    assert "Traceback" not in without_extra.stderr
