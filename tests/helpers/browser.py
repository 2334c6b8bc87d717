"""Send requests to an ASGI application as a browser does: with cookies, a Host and forms."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp


class Browser:
    """A browser of one user; it follows no redirect by itself."""

    def __init__(self, app: ASGIApp, base: str = "http://127.0.0.1:8642") -> None:
        """Begin without cookies."""
        self.app = app
        self.base = base
        self.cookies = httpx.Cookies()

    def request(
        self,
        method: str,
        path: str,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: str | None = None,
    ) -> httpx.Response:
        """Return the answer to one request, with a form or any other content."""

        async def main() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url=self.base, cookies=self.cookies
            ) as client:
                answer = await client.request(
                    method, path, data=data, headers=headers, content=content
                )
                self.cookies = client.cookies
                return answer

        return asyncio.run(main())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Return a page."""
        return self.request("GET", path, headers=headers)

    def send(self, path: str, *, form_at: str | None = None, **values: str) -> httpx.Response:
        """Send the form of a page with these values; it is at `path` unless said otherwise."""
        return self.submit(path, self.get(form_at or path), **values)

    def submit(self, path: str, page: httpx.Response, **values: str) -> httpx.Response:
        """Send the form of a page, with its hidden fields and with these values, to `path`."""
        return self.request("POST", path, data={**Page(page.text).hidden(), **values})


class Page(HTMLParser):
    """The elements of a page: each tag with its attributes, and the text below each table cell."""

    def __init__(self, text: str) -> None:
        """Parse `text`."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if data.strip():
            self.words.append(data.strip())

    def hidden(self) -> dict[str, str]:
        """Return the hidden fields of the forms of the page."""
        return {
            of["name"] or "": of["value"] or ""
            for tag, of in self.tags
            if tag == "input" and of.get("type") == "hidden"
        }

    def links(self) -> list[str]:
        """Return where the links of the page lead."""
        return [of["href"] or "" for tag, of in self.tags if tag == "a" and "href" in of]
