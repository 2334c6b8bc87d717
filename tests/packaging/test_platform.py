"""The package says where it runs, and refuses elsewhere."""

from __future__ import annotations

import subprocess
import sys
import tomllib

from project import ROOT


def test_another_system_is_refused_in_one_sentence() -> None:
    script = "import os; os.name = 'nt'; import shortsdb.models"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: shortsdb runs on POSIX systems")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    systems = [one for one in project["classifiers"] if one.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX"]
