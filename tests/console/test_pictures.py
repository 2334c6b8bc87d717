"""The pictures of the console in docs/ are taken anew by `make generate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pictures
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LARGEST = 200_000


def test_pictures_are_taken_and_those_of_the_docs_are_like_them(tmp_path: Path) -> None:
    pictures.write(tmp_path)
    for name in (pictures.FIRST_PAGE, pictures.RUN):
        for folder in (tmp_path, pictures.FOLDER):
            # Another release of Chromium or of a font draws other pixels.
            with Image.open(folder / name) as picture:
                assert picture.width == 1400
            assert (folder / name).stat().st_size < LARGEST


def test_without_chromium_the_pictures_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    pictures.write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == (
        "Chromium is not installed: make system-packages; "
        "console.png and console-run.png are as they were\n"
    )
