"""Takes the pictures of the console that the pages show, in Chromium."""

from __future__ import annotations

import logging
import sys
import tempfile
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from unittest.mock import patch

import uvicorn
from PIL import Image

from shortsdb import queries
from shortsdb.console import create_app
from shortsdb.console.server import listen
from shortsdb.database import get_session, init_db, seed_db
from shortsdb.log import quiet

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from chromium import NotInstalledError, chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

FOLDER = Path(__file__).parents[1] / "docs" / "guides"
FIRST_PAGE, RUN = "console.png", "console-run.png"
_WIDTH = 1400
# The channel ends in the morning, so that the failed run is one of the last night.
_NOW = datetime.fromisoformat("2026-03-02 06:30")
_DAYS = 21


def write(folder: Path = FOLDER) -> None:
    """Take the pictures; without Chromium they stay as they are."""
    with tempfile.TemporaryDirectory() as temporary:
        with quiet("shortsdb", logging.ERROR):  # of a new file
            engine = init_db(Path(temporary) / "shortsdb.db")
        with get_session(engine) as session:
            seed_db(session, end=_NOW, days=_DAYS)
            failed = session.scalars(queries.runs_by_status("failed")).first()
            assert failed is not None
            run = f"/tables/pipeline_runs/row?key={failed.id}"
        try:
            with _served(engine) as address, chromium() as browser:
                page = browser.new_page(viewport={"width": _WIDTH, "height": 900})
                for name, path in {FIRST_PAGE: "/", RUN: run}.items():
                    page.goto(address + path)
                    # The path of a temporary file, and the random id of a request.
                    page.locator(".database").evaluate(
                        "e => e.textContent = '/srv/shorts/shortsdb.db'"
                    )
                    page.locator("footer").evaluate("e => e.remove()")
                    _save(page.screenshot(full_page=True), folder / name)
        except NotInstalledError as error:
            sys.stderr.write(f"{error}; {FIRST_PAGE} and {RUN} are as they were\n")
        finally:
            engine.dispose()


def _save(png: bytes, path: Path) -> None:
    """Save a picture with a palette, which makes it a third as large."""
    picture = Image.open(BytesIO(png)).convert("RGB")
    picture.quantize(dither=Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def _served(engine: Engine) -> Iterator[str]:
    """Yield the address of a console for which it is always the same time."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(engine), lifespan="off", log_config=None))
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    with (
        patch("shortsdb.console.pages.utcnow", lambda: _NOW),
        patch("shortsdb.console.rendering.utcnow", lambda: _NOW),
    ):
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            listener.close()


if __name__ == "__main__":
    write()
