"""The forms of the console: the login, and the changes if they are allowed."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shortsdb.console.changes import CHANGES, fingerprint
from shortsdb.console.security import client_address
from shortsdb.console.tables import views
from shortsdb.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from shortsdb.console.changes import Change
    from shortsdb.console.site import Site

log = get_logger(__name__)


@dataclass(frozen=True)
class Forms:
    """The forms of a site."""

    site: Site

    def show_login(self, request: Request) -> Response:
        """Return the login page."""
        return self.site.render(request, "login.html", failed=False)

    def log_in(self, request: Request, form: Mapping[str, Any]) -> Response:
        """Begin the session of a reader who knows the password."""
        name = str(form.get("name", "")).strip()
        if name and self.site.sessions.log_in(request, name, str(form.get("password", ""))):
            log.info("console: %r logged in", name)
            return self.site.redirect(request, "/")
        # Without the name: it may be the password, typed into the wrong field.
        log.warning("console: a login from %r failed", client_address(request))
        return self.site.render(request, "login.html", status=403, failed=True)

    def log_out(self, request: Request, _form: Mapping[str, Any]) -> Response:
        """End the session of a reader."""
        self.site.sessions.log_out(request)
        return self.site.redirect(request, "/login")

    def show_change(self, request: Request) -> Response:
        """Return the page that asks about a change."""
        return self._ask(request, request.query_params)

    def change(self, request: Request, form: Mapping[str, Any]) -> Response:
        """Make a change that was confirmed; ask about any other."""
        seen = form.get("seen")
        if form.get("confirmed") != "yes":
            return self._ask(request, form, seen)
        health = self.site.health()
        if not health.known:
            return self.site.unavailable(request, health)
        change, who = _change(request), _who(request)
        values = dict.fromkeys(change.fields, "") | _values(change, form)
        with self.site.writing() as session:
            done = change.make(session, values, str(seen), who)
        if not done:
            return self._ask(request, form, seen, status=409)
        log.info("console: %r: %s %r", who, change.name, values[change.fields[0]])
        return self.site.redirect(request, change.address(values))

    def _ask(
        self, request: Request, given: Mapping[str, Any], seen: str | None = None, status: int = 200
    ) -> Response:
        """Show what a change would do, and ask; or ask for the values that are not given yet.

        `seen` is the `fingerprint` of the row that the reader was shown, None if there was none.
        """
        change = _change(request)
        values = _values(change, given)
        with self.site.reading() as session:
            row = change.row(session, values)
        now = fingerprint(row)
        return self.site.render(
            request,
            "change.html",
            status=status,
            change=change,
            view=views()[change.table],
            row=row,
            values=values,
            seen=now,
            meanwhile=seen is not None and seen != now,
        )


def _change(request: Request) -> Change:
    return CHANGES[request.url.path.rpartition("/")[2]]


def _values(change: Change, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that are given for a change; browsers send each newline as CR LF."""
    return {name: str(given[name]).replace("\r\n", "\n") for name in change.fields if name in given}


def _who(request: Request) -> str:
    """Return who makes a change: by the login, the application's login, or the system."""
    # Starlette's AuthenticationMiddleware sets the user of an application.
    of_application = getattr(request.scope.get("user"), "display_name", "")
    if name := request.state.user or of_application:
        return str(name)
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"user {os.getuid()}"
