"""Render the pages from their templates; every value is escaped."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from shortsdb import __version__
from shortsdb.console.lists import BEGINNING, PAGE_ROWS, SEARCH_LENGTH
from shortsdb.extras import extra
from shortsdb.models.types import utcnow

with extra("console", "jinja2", "starlette"):
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def render(request: Request, template: str, status: int, values: Mapping[str, Any]) -> Response:
    """Return a page."""
    root = request.scope.get("root_path", "")

    def link(path: str, **parameters: object) -> str:
        query = urlencode({name: str(value) for name, value in parameters.items()})
        return f"{root}{quote(path)}{'?' if query else ''}{query}"

    page = _ENVIRONMENT.get_template(template).render(
        **values, link=link, now=utcnow(), version=__version__
    )
    headers = {"Retry-After": "5"} if status == 503 else None  # noqa: PLR2004 - as a status
    # The JSON of a script can escape half of a surrogate pair, which UTF-8 does not have.
    content = page.encode("utf-8", "replace")
    return HTMLResponse(content, status_code=status, headers=headers)


def shown(value: object, length: int | None = None) -> str:
    """Return a value as text, at most `length` characters of it."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash for what is not there
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = f"{value:,}" if isinstance(value, float) else str(value)
    return text if length is None or len(text) <= length else f"{text[:length]}…"


def ago(moment: datetime | float, now: datetime) -> str:
    """Return how long ago a moment was, or how long so many seconds are: two units."""
    seconds = (now - moment).total_seconds() if isinstance(moment, datetime) else moment
    seconds, parts = max(int(seconds), 0), []
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        number, seconds = divmod(seconds, unit)
        if number > 0:
            parts.append(f"{number} {name}{'' if number == 1 else 's'}")
    return " ".join(parts[:2]) or "less than a minute"


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _is_web_address(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("shortsdb.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "beginning": BEGINNING,
        "page_rows": PAGE_ROWS,
        "search_length": SEARCH_LENGTH,
    }
    environment.filters |= {"shown": shown, "utc": _utc, "ago": ago}
    environment.tests |= {"moment": lambda value: isinstance(value, datetime)}
    environment.tests |= {"web_address": _is_web_address}
    return environment


_ENVIRONMENT = _environment()
