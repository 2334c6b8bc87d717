"""The console in a real browser: `shortsdb console` as a process, and tabs of Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from project import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from playwright.sync_api import Browser, ConsoleMessage, Page, Request


class NotInstalledError(Exception):
    """Chromium is not installed."""


_SHOWN_BY_AXE = {"serious", "critical"}
# In Debian, on GitHub's runners, and as Google packages it.
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_TALLEST_ROW = 450  # pixels; taller ones have a column of a few letters
# The other rows of a long table are like these.
_FEW_ROWS = {"exclude": [["tbody tr:nth-child(n + 12)"]]}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the installed Chromium; Playwright's own browser cannot be downloaded everywhere.

    Raises:
        NotInstalledError: It is not.
    """
    path = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if path is None:
        raise NotInstalledError("Chromium is not installed: make system-packages")
    with sync_playwright() as playwright:
        # Root cannot have Chromium's sandbox, and the only pages are our own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def console(url: str | PathLike[str], *options: str, **environment: str) -> Iterator[str]:
    """Yield the address of `shortsdb console` on a database, without the last slash."""
    command = [PROGRAMS / "shortsdb", "console", "--url", url, "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            yield "http://" + first.rpartition("http://")[2].partition("/")[0]
        finally:
            process.terminate()


class Tab:
    """A tab with cookies of its own, and what went wrong in it."""

    def __init__(
        self,
        browser: Browser,
        address: str,
        *,
        width: int = 1400,
        **options: Any,  # noqa: ANN401 - those of a context
    ) -> None:
        """Open an empty tab for the pages below `address`."""
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.address = address
        self.wrong: list[str] = []
        """Errors of scripts, refusals by the Content-Security-Policy, and requests to others."""
        self.page: Page = context.new_page()
        # A click that meets nothing fails soon, and says what it waited for.
        self.page.set_default_timeout(10_000)
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._note_request)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.page.context.close()

    def open(self, path: str) -> Page:
        """Go to a page, wait until all that it needs is there, and return it."""
        self.page.goto(self.address + path)
        return self.page

    def findings(self) -> list[str]:
        """Return what is wrong with the page: for users of assistive technology, or with its width.

        axe-core says the former; its findings below "serious" are left out.
        """
        found = [
            f"{finding['id']} ({finding['impact']}): {node['html'][:200]}"
            for finding in Axe().run(self.page, _FEW_ROWS).response["violations"]
            if finding["impact"] in _SHOWN_BY_AXE
            for node in finding["nodes"][:3]
        ]
        return [*found, *self.overflow(), *self.wrong]

    def overflow(self) -> list[str]:
        """Return whether the page is wider than the window, or a column is squeezed."""
        width, window, tallest = self.page.evaluate(
            """() => [
                document.documentElement.scrollWidth,
                document.documentElement.clientWidth,
                Math.max(0, ...[...document.querySelectorAll("tbody tr")].map(e => e.offsetHeight)),
            ]"""
        )
        found = [f"the page is {width} pixels wide"] if width > window else []
        return found + ([f"a row is {tallest} pixels tall"] if tallest > _TALLEST_ROW else [])

    def _note_message(self, message: ConsoleMessage) -> None:
        # Chromium reports the status of a page that is not available too; tests look at the page.
        is_status = message.text.startswith("Failed to load resource")
        if is_status and message.location["url"] == self.page.url:
            return
        if message.type in {"error", "warning"}:
            self.wrong.append(message.text)

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((self.address + "/", "data:")):
            self.wrong.append(f"a request to {request.url}")
