"""The three changes of --allow-changes: asked for, confirmed, made by the helpers, and logged."""

from __future__ import annotations

import getpass
import html
import os
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from browser import Browser, Page
from sqlalchemy import event, select
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware

from shortsdb.console import changes, create_app, mount
from shortsdb.console.changes import CHANGES, fingerprint
from shortsdb.database import (
    delete_override,
    get_override,
    get_session,
    resolve_error,
    set_override,
)
from shortsdb.engine.transactions import read_only_options
from shortsdb.models import OWN_TABLES, ConfigOverride, ErrorLog

if TYPE_CHECKING:
    import httpx
    from sqlalchemy import Connection, Engine, Row
    from starlette.requests import HTTPConnection

PASSWORD = "correct horse battery staple"  # noqa: S105 - made up


@pytest.fixture
def changing(channel: Engine) -> Browser:
    """Return a browser on a console that allows changes, without a login."""
    return Browser(create_app(channel, allow_changes=True))


def make(browser: Browser, name: str, **values: str) -> httpx.Response:
    """Make a change as a reader does: ask, read the question, and confirm."""
    path = f"/changes/{name}"
    asked = browser.send(path, form_at=f"{path}?{urlencode(values)}", **values)
    return browser.submit(path, asked, confirmed="yes")


def unresolved(engine: Engine) -> int:
    with get_session(engine) as session:
        return session.scalars(select(ErrorLog.id).where(ErrorLog.resolved == 0)).first() or 0


def overrides(engine: Engine) -> dict[str, tuple[str, str]]:
    with get_session(engine) as session:
        return {
            row.key: (row.value, row.updated_by) for row in session.scalars(select(ConfigOverride))
        }


def test_an_error_is_resolved_after_a_question(
    changing: Browser, channel: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shortsdb")
    key = unresolved(channel)
    row = changing.get(f"/tables/error_logs/row?key={key}").text
    ask = f"/changes/resolve-error?id={key}"
    assert ask in Page(row).links()
    assert "the service is unavailable" in changing.get(ask).text
    asked = changing.send("/changes/resolve-error", form_at=ask, id=str(key))
    assert asked.status_code == 200
    assert unresolved(channel) == key  # asking changes nothing
    done = changing.submit("/changes/resolve-error", asked, confirmed="yes")
    assert done.headers["location"] == f"/tables/error_logs/row?key={key}"
    assert unresolved(channel) != key
    assert ask not in changing.get(done.headers["location"]).text
    (record,) = (record for record in caplog.records if "resolve-error" in record.getMessage())
    assert getpass.getuser() in record.getMessage()
    helper = next(record for record in caplog.records if "marked error" in record.getMessage())
    identity = record.__dict__["correlation_id"]
    assert identity is not None
    assert helper.__dict__["correlation_id"] == identity


def test_an_override_is_set_and_deleted_after_a_question(
    changing: Browser, channel: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shortsdb")
    before = overrides(channel)
    path = "/changes/set-override"
    assert path in Page(changing.get("/tables/config_overrides").text).links()
    key, value = "new & <odd>", 'sec"ret <value>'
    question = changing.send(path, key=key, value=value)
    assert question.status_code == 200
    assert "new &amp; &lt;odd&gt;" in question.text
    assert overrides(channel) == before
    done = changing.submit(path, question, confirmed="yes")
    who = getpass.getuser()
    assert overrides(channel) == {**before, key: (value, who)}
    assert changing.get(done.headers["location"]).status_code == 200
    make(changing, "set-override", key=key, value="")
    assert overrides(channel)[key] == ("", who)
    path = "/changes/delete-override"
    asking = f"{path}?key=new+%26+%3Codd%3E"
    assert asking in Page(changing.get(done.headers["location"]).text).links()
    asked = changing.send(path, form_at=asking, key=key)
    assert asked.status_code == 200
    assert key in overrides(channel)
    changing.submit(path, asked, confirmed="yes")
    assert overrides(channel) == before
    assert "sec" not in caplog.text
    assert len([r for r in caplog.records if r.getMessage().startswith("console: ")]) == 3


@pytest.mark.parametrize("name", ["set-override", "delete-override", "resolve-error"])
def test_a_row_that_was_changed_since_the_question_is_left_alone(
    changing: Browser, channel: Engine, name: str
) -> None:
    key = str(unresolved(channel))
    first = {"id": key} if name == "resolve-error" else {"key": "clips_per_run"}
    values = {**first, "value": "9"} if name == "set-override" else first
    path = f"/changes/{name}"
    asked = changing.send(path, form_at=f"{path}?{urlencode(first)}", **values)
    with get_session(channel) as session:
        if name == "resolve-error":
            resolve_error(session, int(key))
        else:
            set_override(session, "clips_per_run", "5", updated_by="telegram")
    before = overrides(channel)
    refused = changing.submit(path, asked, confirmed="yes")
    assert refused.status_code == 409
    assert "Nothing was changed: meanwhile the row has become what you see below" in refused.text
    assert name == "resolve-error" or "telegram" in refused.text
    assert overrides(channel) == before
    again = changing.submit(path, refused, confirmed="yes")
    assert again.status_code == 303
    assert name == "resolve-error" or overrides(channel) != before


def test_a_row_that_was_changed_before_the_question_is_shown_with_a_notice(
    changing: Browser, channel: Engine
) -> None:
    path = "/changes/set-override"
    opened = changing.get(f"{path}?key=clips_per_run")
    assert changing.submit(path, opened, value="9").text.count("meanwhile") == 0
    with get_session(channel) as session:
        set_override(session, "clips_per_run", "5", updated_by="telegram")
    question = changing.submit(path, opened, value="9")
    assert "meanwhile the row has become what you see below" in question.text
    assert "telegram" in question.text
    # A reader who typed the key has seen no row that could have changed.
    typed = changing.submit(path, changing.get(path), key="clips_per_run", value="9")
    assert "meanwhile" not in typed.text
    assert changing.submit(path, typed, confirmed="yes").status_code == 303


def test_newlines_of_keys_and_values_are_kept(changing: Browser, channel: Engine) -> None:
    key, value = "two\nlines", '\n{\n  "a": "<b>"\n}'
    with get_session(channel) as session:
        set_override(session, key, value)
    address = urlencode({"key": key})
    page = changing.get(f"/changes/set-override?{address}")
    (shown,) = re.findall(r"<textarea[^>]*>\n(.*)</textarea>", page.text, re.DOTALL)
    assert html.unescape(shown) == value
    sent = {"key": key.replace("\n", "\r\n"), "value": f"{value}\n".replace("\n", "\r\n")}
    asked = changing.submit("/changes/set-override", page, **sent)
    assert "meanwhile" not in asked.text
    changing.submit("/changes/set-override", asked, confirmed="yes", **sent)
    assert overrides(channel)[key][0] == f"{value}\n"
    asked = changing.get(f"/changes/delete-override?{address}")
    del sent["value"]
    changing.submit("/changes/delete-override", asked, confirmed="yes", **sent)
    assert key not in overrides(channel)


def test_an_override_that_was_set_since_the_question_is_left_alone(
    changing: Browser, channel: Engine
) -> None:
    path = "/changes/set-override"
    asked = changing.send(path, key="new", value="1")
    with get_session(channel) as session:
        set_override(session, "new", "2")
    assert changing.submit(path, asked, confirmed="yes").status_code == 409
    assert overrides(channel)["new"] == ("2", "system")
    asked = changing.send("/changes/delete-override", form_at="/changes/delete-override?key=new")
    with get_session(channel) as session:
        delete_override(session, "new")
    assert changing.submit("/changes/delete-override", asked, confirmed="yes").status_code == 404


def test_what_cannot_be_done_is_refused_and_changes_nothing(
    changing: Browser, channel: Engine
) -> None:
    before = overrides(channel), unresolved(channel)
    for name, values, status in (
        ("resolve-error", {"id": "999999"}, 404),
        ("resolve-error", {"id": "x"}, 400),
        ("resolve-error", {}, 400),
        ("set-override", {"key": " ", "value": "x"}, 400),
        ("set-override", {"key": "k\0", "value": "x"}, 400),
        ("delete-override", {"key": ""}, 404),
    ):
        answer = changing.send(
            f"/changes/{name}", form_at="/changes/set-override?key=k", confirmed="yes", **values
        )
        assert answer.status_code == status, (name, values)
    for path in (
        "/changes/resolve-error?id=999999",
        "/changes/resolve-error",
        "/changes/delete-override?key=unknown",
        "/changes/drop-table",
    ):
        assert changing.get(path).status_code in {400, 404}
    assert (overrides(channel), unresolved(channel)) == before


def test_a_change_needs_the_token_and_a_post(changing: Browser, channel: Engine) -> None:
    before = overrides(channel)
    form = {"key": "k", "value": "v", "confirmed": "yes"}
    changing.get("/changes/set-override")
    assert changing.request("POST", "/changes/set-override", data=form).status_code == 403
    address = "/changes/set-override?key=k&value=v&confirmed=yes"
    assert changing.get(address).status_code == 200
    assert overrides(channel) == before


def test_only_the_three_changes_write(changing: Browser, channel: Engine) -> None:
    """Pages read with read-only sessions also where changes are allowed."""
    assert CHANGES.keys() == {"resolve-error", "set-override", "delete-override"}
    wanted = read_only_options(channel.dialect.name)
    seen: set[str] = set()

    def see(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        for name in OWN_TABLES:
            if f"FROM {name}" in statement:
                seen.add(name)
                options = connection.get_execution_options()
                assert {option: options.get(option) for option in wanted} == wanted

    event.listen(channel, "before_cursor_execute", see)
    for name in OWN_TABLES:
        forms = [
            dict(attributes)
            for tag, attributes in Page(changing.get(f"/tables/{name}").text).tags
            if tag == "form"
        ]
        assert [form["method"] for form in forms] == ["get"]
    assert changing.get("/").status_code == 200
    assert seen == OWN_TABLES


def test_the_log_names_who_logged_in(channel: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "shortsdb")
    browser = Browser(create_app(channel, allow_changes=True, password=PASSWORD))
    form = {"key": "speed", "value": "2", "confirmed": "yes"}
    answer = browser.send("/changes/set-override", form_at="/login", **form)
    assert answer.headers["location"] == "/login"
    assert "speed" not in overrides(channel)
    browser.send("/login", name="ann\x1b[31m", password=PASSWORD)
    make(browser, "set-override", key="speed", value="2")
    assert overrides(channel)["speed"] == ("2", "ann\x1b[31m")
    assert r"console: 'ann\x1b[31m': set-override 'speed'" in caplog.text.replace("\\\\", "\\")
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)
def test_a_row_stays_as_it_was_compared_until_it_is_changed(
    channel: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = channel.url.database or ""
    refused: list[str] = []

    def compare(row: Row[Any] | None) -> str:
        with closing(sqlite3.connect(path, timeout=0)) as other:
            try:
                other.execute("UPDATE config_overrides SET value = 'of the bot'")
            except sqlite3.OperationalError as error:
                refused.append(str(error))
        return fingerprint(row)

    monkeypatch.setattr(changes, "fingerprint", compare)
    change, values = CHANGES["set-override"], {"key": "clips_per_run", "value": "9"}
    with get_session(channel) as session:
        seen = fingerprint(change.row(session, values))
        session.rollback()
        assert change.make(session, values, seen, "ann")
    assert refused == ["database is locked"]
    assert overrides(channel)["clips_per_run"] == ("9", "ann")


def test_two_operators_at_once_see_the_last_word_of_each(
    changing: Browser, channel: Engine
) -> None:
    other = Browser(changing.app)
    for number, browser in enumerate((changing, other, changing)):
        make(browser, "set-override", key="k", value=str(number))
        for reader in (changing, other):
            assert f">{number}</dd>" in reader.get("/tables/config_overrides/row?key=k").text
    with get_session(channel) as session:
        set_override(session, "k", "of the bot")
        assert get_override(session, "k") == "of the bot"
    assert "of the bot" in other.get("/changes/delete-override?key=k").text


class ByHeader(AuthenticationBackend):
    """The login of an application: it knows the reader's name."""

    async def authenticate(
        self,
        conn: HTTPConnection,  # noqa: ARG002 - the signature
    ) -> tuple[AuthCredentials, SimpleUser]:
        """Return the reader."""
        return AuthCredentials(), SimpleUser("bea of the application")


def test_a_change_inside_an_application_is_of_its_user(channel: Engine) -> None:
    app = Starlette(middleware=[Middleware(AuthenticationMiddleware, backend=ByHeader())])
    mount(app, channel, allow_changes=True)
    browser = Browser(app)
    path = "/console/changes/set-override"
    asked = browser.send(path, key="k", value="v")
    browser.submit(path, asked, confirmed="yes")
    assert overrides(channel)["k"] == ("v", "bea of the application")


def test_who_has_logged_in_counts_more_than_the_user_of_the_application(channel: Engine) -> None:
    app = Starlette(middleware=[Middleware(AuthenticationMiddleware, backend=ByHeader())])
    mount(app, channel, allow_changes=True, password=PASSWORD)
    browser = Browser(app)
    browser.send("/console/login", name="ann", password=PASSWORD)
    path = "/console/changes/set-override"
    browser.submit(path, browser.send(path, key="k", value="v"), confirmed="yes")
    assert overrides(channel)["k"] == ("v", "ann")


def test_a_user_without_a_name_can_make_a_change(
    changing: Browser, channel: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nameless)
    make(changing, "set-override", key="k", value="v")
    assert overrides(channel)["k"] == ("v", f"user {os.getuid()}")
