"""Which links are followed, and for whom: root would write where the owner of a link likes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from other_user import OWNER, STRANGER, needs_root, run_as

from shortsdb.errors import OperationRefused
from shortsdb.sqlite.files import behind_link, open_folder

ROOT = 0


@needs_root
@pytest.mark.parametrize(
    ("link_of", "file_of", "followed"),
    [
        (ROOT, ROOT, True),
        (ROOT, STRANGER, True),
        (STRANGER, STRANGER, True),
        (STRANGER, ROOT, False),
        (STRANGER, OWNER, False),
        (STRANGER, None, False),
    ],
)
def test_root_follows_a_link_only_to_a_file_of_its_owner(
    reachable: Path, link_of: int, file_of: int | None, *, followed: bool
) -> None:
    link, file = reachable / "link", reachable / "file"
    link.symlink_to(file)
    os.chown(link, link_of, link_of, follow_symlinks=False)
    if file_of is not None:
        file.touch()
        os.chown(file, file_of, file_of)
    assert run_as(OWNER, lambda: behind_link(link)) == file
    if followed:
        assert behind_link(link) == file
    else:
        with pytest.raises(OperationRefused, match="link is a link of another user to a file"):
            behind_link(link)


def test_what_is_no_link_is_itself(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert behind_link(file) == file
    file.touch()
    assert behind_link(file) == file
    assert behind_link(Path("with\0nul")) == Path("with\0nul")
    (tmp_path / "circle").symlink_to("circle")
    assert behind_link(tmp_path / "circle").name == "circle"


@needs_root
def test_root_opens_no_folder_through_a_link(reachable: Path) -> None:
    folder, link = reachable / "folder", reachable / "link"
    (folder / "below").mkdir(parents=True)
    link.symlink_to(folder)

    def inode(path: Path) -> int:
        with open_folder(path) as descriptor:
            return os.fstat(descriptor).st_ino

    wanted = folder.stat().st_ino
    assert inode(folder) == run_as(OWNER, lambda: inode(link)) == wanted
    with pytest.raises(OperationRefused, match="link is a link, which is not followed for root"):
        inode(link)
    # What leads to the folder is followed: only the name that is given must be its own.
    assert inode(link / "below") == (folder / "below").stat().st_ino


def test_what_is_no_folder_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, error in (("file", NotADirectoryError), ("nothing", FileNotFoundError)):
        with pytest.raises(error), open_folder(tmp_path / name):
            pass
