"""A daemon whose engine was used before the fork loses no commit beside other programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import fork_traffic
import pytest

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGKILL]


@pytest.fixture
def path(head_file: Path, tmp_path: Path) -> Path:
    """Return a new SQLite file at head."""
    path = tmp_path / "daemon.db"
    path.write_bytes(head_file.read_bytes())
    return path


def run_status_and_health(path: Path) -> None:
    program = Path(sys.executable).parent / "shortsdb"
    environment = {**os.environ, "SHORTSDB_URL": str(path)}
    running = [
        subprocess.Popen(
            [program, command], env=environment, cwd=path.parent, stdout=subprocess.DEVNULL
        )
        for command in ("status", "health")
    ]
    assert [process.wait() for process in running] == [0, 0]


@pytest.mark.parametrize("ended_by", SIGNALS, ids=lambda ended_by: ended_by.name)
def test_a_daemon_loses_no_commit(path: Path, ended_by: signal.Signals) -> None:
    result = fork_traffic.daemon_trial(
        path, "shortsdb", rounds=2, ended_by=ended_by, visit=run_status_and_health
    )
    assert result == fork_traffic.Result(result.acknowledged, set(), "")
    assert len(result.acknowledged) == 11


@pytest.mark.parametrize("ended_by", SIGNALS, ids=lambda ended_by: ended_by.name)
def test_a_daemon_loses_no_commit_beside_frequent_visitors(
    path: Path, ended_by: signal.Signals
) -> None:
    result = fork_traffic.daemon_trial(path, "shortsdb", rounds=40, ended_by=ended_by)
    assert result == fork_traffic.Result(result.acknowledged, set(), "")
    assert len(result.acknowledged) == 201


@pytest.mark.parametrize("kind", ["sqlalchemy", "new_pool"])
def test_control_other_engines_lose_commits(path: Path, kind: str) -> None:
    result = fork_traffic.daemon_trial(path, kind, rounds=6, ended_by=signal.SIGKILL)
    assert result.missing
