"""Guard the console: headers of every answer, the login, and tokens of forms."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import quote
from zlib import crc32

from shortsdb.extras import extra

with extra("console", "starlette"):
    from starlette.datastructures import MutableHeaders
    from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The names by which a browser on the same machine may ask."""

HEADERS = {
    # Nothing from elsewhere, and no script or style inside a page, wherever its text comes from.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send a form with Origin: null
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_SESSION_SECONDS = 12 * 3600
_ATTEMPTS = 5
_ATTEMPTS_SECONDS = 15 * 60
_ALL_ATTEMPTS = 100


class SecurityHeaders:
    """Adds `HEADERS` to every answer of an application, its error pages too."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                # Our own files have an ETag; pages and exports hold rows.
                headers.setdefault("Cache-Control", "no-cache" if "etag" in headers else "no-store")
            await send(message)

        await self.app(scope, receive, send_with_headers)


class Attempts:
    """Counts the failed logins of the last quarter of an hour, of each address and of all."""

    def __init__(self) -> None:
        """Start without any."""
        self._failed: deque[tuple[float, str]] = deque(maxlen=_ALL_ATTEMPTS)

    def refuse(self, address: str) -> None:
        """Refuse an address with too many failures, or any if there are too many of all.

        A proxy may pass on whatever address a client claims to have.

        Raises:
            HTTPException: There are too many.
        """
        since = time.monotonic() - _ATTEMPTS_SECONDS
        recent = [failed for moment, failed in self._failed if moment > since]
        if recent.count(address) >= _ATTEMPTS or len(recent) >= _ALL_ATTEMPTS:
            raise HTTPException(429, "too many failed logins; try again in a quarter of an hour")

    def failed(self, address: str) -> None:
        """Count a failure."""
        self._failed.append((time.monotonic(), address))


class Sessions:
    """Who uses a browser; kept in memory, so that a restart ends all logins.

    A browser is known by a random id in its cookie, whether it has logged in or not, because the
    token of a form belongs to one browser.
    """

    def __init__(self, password: str | None) -> None:
        """Begin without any.

        Args:
            password: What a login needs; None for no login.
        """
        self._password = password
        self._token_key = secrets.token_bytes(32)
        self._attempts = Attempts()
        self._users: dict[str, tuple[str, float]] = {}

    def load(self, request: Request) -> None:
        """Set `session` and `user` of the state of a request; the user is None before a login."""
        given = request.cookies.get(_cookie_name(request), "")
        request.state.session = given or secrets.token_urlsafe(32)
        request.state.is_new = not given
        user, end = self._users.get(given, (None, 0.0))
        request.state.user = user if time.monotonic() < end else None

    def save(self, request: Request, response: Response) -> None:
        """Set the cookie of a session that is new."""
        if not request.state.is_new:
            return
        response.set_cookie(
            _cookie_name(request),
            request.state.session,
            # Written as browsers write it in their requests.
            path=quote(_root(request), safe="/@:!$&'()*+,=") or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            # With "strict" a link from elsewhere would come without the cookie, and the answer
            # would set a new one, which ends the login of every tab.
            samesite="lax",
        )

    def is_known(self, request: Request) -> bool:
        """Return whether the reader may see rows."""
        return self._password is None or request.state.user is not None

    def log_in(self, request: Request, name: str, password: str) -> bool:
        """Return whether the password is right, and begin a new session if it is.

        Raises:
            HTTPException: The address has tried too often.
        """
        address = client_address(request)
        self._attempts.refuse(address)
        # compare_digest takes the same time wherever the two differ.
        expected = _bytes(self._password or "")
        if not expected or not hmac.compare_digest(_bytes(password), expected):
            self._attempts.failed(address)
            return False
        now = time.monotonic()
        for session, (_, end) in list(self._users.items()):
            if end < now:
                self._users.pop(session, None)
        # A new id: another page may have set the one that this browser had.
        request.state.session, request.state.is_new = secrets.token_urlsafe(32), True
        self._users[request.state.session] = (name, now + _SESSION_SECONDS)
        return True

    def log_out(self, request: Request) -> None:
        """End the session of a request."""
        self._users.pop(request.state.session, None)

    def token(self, request: Request) -> str:
        """Return the token for the forms of a session."""
        return hmac.digest(self._token_key, request.state.session.encode(), "sha256").hex()

    def refuse_foreign_form(self, request: Request, token: str) -> None:
        """Refuse a form that this console has not shown to this browser.

        Raises:
            HTTPException: The token is missing or of another session.
        """
        if not hmac.compare_digest(_bytes(token), self.token(request).encode()):
            raise HTTPException(403, "this form is too old or not from this console; reload it")


def client_address(request: Request) -> str:
    """Return the address that a request comes from."""
    return request.client.host if request.client else ""


def _cookie_name(request: Request) -> str:
    # Cookies do not tell ports apart, and two consoles may run on one machine. One for /admin is
    # sent to /admin/old too.
    _, port = request.scope.get("server") or ("", 0)
    return f"shortsdb_console_{port}_{crc32(_root(request).encode()):08x}"


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _bytes(text: str) -> bytes:
    # A form in an odd encoding, or a variable of the environment, can hold a lone surrogate.
    return text.encode("utf-8", "surrogatepass")
