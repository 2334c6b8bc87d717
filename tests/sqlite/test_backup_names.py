"""Backups are kept and named in the order in which they are made, whatever the clock says."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

import pytest
from inspect_sqlite import row_hashes

from shortsdb.errors import OperationRefused
from shortsdb.sqlite import backup
from shortsdb.sqlite.backup import KEPT, backups_of, folder_for, keep_newest, make_backup

if TYPE_CHECKING:
    from pathlib import Path


class BackwardClock(datetime):
    """A clock that goes back by a day each time it is asked."""

    asked = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> BackwardClock:
        """Return the instant that it is."""
        cls.asked += 1
        return cls(2026, 1, 1, tzinfo=tz) - timedelta(days=cls.asked)


def make_and_prune(file: Path, revision: str = "0001") -> Path:
    made = make_backup(file, revision, file.parent / "backups")
    keep_newest(file, made)
    return made


def test_a_clock_that_goes_back_deletes_no_newer_backup(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deployed_file.parent / "backups"
    monkeypatch.setattr(BackwardClock, "asked", 0)
    monkeypatch.setattr(backup, "datetime", BackwardClock)
    made = [make_and_prune(deployed_file) for _ in range(KEPT + 3)]
    assert made == sorted(made)
    assert backups_of(deployed_file, folder) == made[-KEPT:]
    assert made[1].name == "deployed.0001.20251231T000000000001Z.db"


def test_a_backup_from_the_future_does_not_hide_the_newest(deployed_file: Path) -> None:
    folder = deployed_file.parent / "backups"
    folder.mkdir()
    (folder / "deployed.0001.20990101T000000000000Z.db").touch()
    for name in ("deployed.0001.20261399T000000000000Z.db", "deployed.0001.20261399T0Z.db"):
        (folder / name).touch()  # no dates
    made = make_and_prune(deployed_file)
    assert made.name == "deployed.0001.20990101T000000000001Z.db"
    assert backups_of(deployed_file, folder)[-1] == made


def test_the_backup_of_the_last_upgrade_outlives_later_ones(deployed_file: Path) -> None:
    folder = deployed_file.parent / "backups"
    older = make_and_prune(deployed_file, "0001")
    upgrades = make_and_prune(deployed_file, "0001")
    later = [make_and_prune(deployed_file, "0008") for _ in range(KEPT + 3)]
    assert backups_of(deployed_file, folder) == [upgrades, *later[-KEPT:]]
    assert not older.exists()
    # The next upgrade leaves one of 0008, which is the way back from then on.
    newest = [make_and_prune(deployed_file, "0009") for _ in range(KEPT)]
    assert backups_of(deployed_file, folder) == [later[-1], *newest]


@pytest.mark.parametrize("revision", ["x" * 300, "é" * 300, "a/../../b", "\0", "", "\n"])
def test_any_revision_makes_a_name(deployed_file: Path, revision: str) -> None:
    made = make_backup(deployed_file, revision, deployed_file.parent / "backups")
    assert row_hashes(made) == row_hashes(deployed_file)
    assert made.name.isascii()
    assert made.parent == deployed_file.parent / "backups"
    assert backups_of(deployed_file, made.parent) == [made]


def test_a_folder_with_a_tilde_is_refused(deployed_file: Path) -> None:
    with pytest.raises(OperationRefused, match="begins with ~, which only a shell expands"):
        folder_for(deployed_file, "~/backups")
