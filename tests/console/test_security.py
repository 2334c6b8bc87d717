"""What the console refuses: other hosts, other origins, foreign forms, markup in rows."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import pytest
from browser import Browser, Page
from sqlalchemy import inspect as sa_inspect

from shortsdb.console import create_app
from shortsdb.console.security import Attempts
from shortsdb.console.tables import views
from shortsdb.database import get_session
from shortsdb.engine import create_engine
from shortsdb.models import OWN_TABLES

if TYPE_CHECKING:
    from pathlib import Path

    from project import NewUrl
    from sqlalchemy import Engine
    from starlette.types import Message, Receive, Scope, Send

# What guards the pages is the same on every database.
pytestmark = pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)

PASSWORD = "correct horse battery staple"  # noqa: S105 - made up
WRONG = "wrong"
EVIL = "\"'></td></script><script>alert(1)</script><img src=x onerror=alert(1)>"
ADDRESSES = ["javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "//evil.example/"]
PATHS = [
    "/",
    "/tables/clips",
    "/tables/clips/row?key=1",
    "/export/clips.csv",
    "/nonsense",
    "/login",
]


@pytest.mark.parametrize("path", [*PATHS, "/static/console.js", "/tables/clips?sort=nonsense"])
def test_every_answer_has_the_security_headers(browser: Browser, path: str) -> None:
    headers = browser.get(path).headers
    policy = dict(part.split(maxsplit=1) for part in headers["content-security-policy"].split("; "))
    assert policy == {
        **dict.fromkeys(("default-src", "base-uri", "frame-ancestors"), "'none'"),
        **dict.fromkeys(("script-src", "style-src", "img-src", "form-action"), "'self'"),
    }
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8642", 200),
        ("localhost", 200),
        ("[::1]:8642", 200),
        ("console.example:443", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost@evil.example", 400),
        ("192.0.2.1", 400),
        ("", 400),
    ],
)
def test_a_request_for_another_host_is_refused(channel: Engine, host: str, status: int) -> None:
    browser = Browser(create_app(channel, allowed_hosts=["console.example", "www.evil.example"]))
    for path in (*PATHS[:4], "/static/console.css"):
        answer = browser.get(path, headers={"Host": host})
        assert answer.status_code == status
        if status != 200:
            assert "pipeline" not in answer.text


def fill_with_markup(engine: Engine) -> dict[str, object]:
    """Put markup into every text of a row of every table; return the primary keys of these rows."""
    keys: dict[str, object] = {}
    with get_session(engine) as session:
        for name, view in views().items():
            row = session.query(view.model).first()
            assert row is not None
            if name == "config_overrides":
                row = view.model(key=EVIL)
                session.add(row)
            for field in view.fields.values():
                if field.kind == "text" and not field.column.primary_key:
                    setattr(row, field.key, f"{field.key}{EVIL}")
            session.flush()
            (keys[name],) = sa_inspect(row).identity or ()
        session.commit()
    return keys


def assert_harmless(text: str) -> None:
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in {"img", "iframe", "object", "style", "svg"}
        if tag == "script":
            assert re.match(r"/static/[\w./]+\?v=", attributes["src"] or "")
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in {"href", "src", "action"}:
                assert (value or "").startswith(("/", "?", "#", "http://", "https://")), value
                assert not (value or "").startswith("//")


def test_markup_in_rows_is_text_on_every_page(browser: Browser, channel: Engine) -> None:
    keys = fill_with_markup(channel)
    for name, key in keys.items():
        quoted = str(key).replace("%", "%25").replace("&", "%26").replace("#", "%23")
        for path in (
            f"/tables/{name}?sort={views()[name].key.key}",
            f"/tables/{name}/row?key={quoted}",
        ):
            answer = browser.get(path)
            assert answer.status_code == 200
            assert "onerror" in answer.text
            assert "&lt;script&gt;" in answer.text
            assert_harmless(answer.text)
    for path in (
        "/",
        f"/tables/clips?q={EVIL}",
        f"/tables/clips?sort={EVIL}",
        f"/tables/clips?extraction_method={EVIL}",
        f"/tables/clips/row?key={EVIL}",
        f"/tables/{EVIL}",
        f"/tables/error_logs?module={EVIL}",
    ):
        assert_harmless(browser.get(path).text)
    home = browser.get("/").text
    assert "&lt;script&gt;" in home


@pytest.mark.parametrize("address", ADDRESSES)
def test_only_addresses_of_the_web_become_links(
    browser: Browser, channel: Engine, address: str
) -> None:
    model = views()["discovered_videos"].model
    with get_session(channel) as session:
        row = session.get(model, 1)
        row.url = address  # type: ignore[union-attr] # it is one of the channel
        session.commit()
    page = browser.get("/tables/discovered_videos/row?key=1").text
    assert_harmless(page)
    assert address not in Page(page).links()
    assert any(
        link.startswith("https://") for link in Page(browser.get("/tables/shorts").text).links()
    )


def test_exports_are_files_and_no_pages(browser: Browser, channel: Engine) -> None:
    fill_with_markup(channel)
    for name in OWN_TABLES:
        for kind, media in (("csv", "text/csv; charset=utf-8"), ("json", "application/json")):
            answer = browser.get(f"/export/{name}.{kind}")
            assert answer.headers["content-type"] == media
            assert answer.headers["content-disposition"].startswith("attachment;")


@pytest.fixture
def locked(channel: Engine) -> Browser:
    """Return a browser on a console that needs a login."""
    return Browser(create_app(channel, password=PASSWORD))


def test_without_the_login_no_page_shows_anything(locked: Browser) -> None:
    for path in PATHS[:4]:
        answer = locked.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/login"
    for path in ("/login", "/none", "/static/console.css"):
        assert not OWN_TABLES & set(re.findall(r"\w+", locked.get(path).text))
    assert locked.get("/login").text.count(".db") == 0


def test_the_login_sets_a_cookie_that_no_script_and_no_other_page_can_use(
    locked: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    assert locked.send("/login", name=PASSWORD, password=WRONG).status_code == 403
    assert "a login from '127.0.0.1' failed" in caplog.text
    assert PASSWORD not in caplog.text  # typed into the wrong field
    assert locked.get("/").status_code == 303
    before = dict(locked.cookies)
    answer = locked.send("/login", name="ann", password=PASSWORD)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert part.lower() in cookie.lower()
    assert "Secure" not in cookie  # over http a browser would not send it
    assert dict(locked.cookies) != before  # a new session: nobody can have fixed its id
    assert locked.get("/").status_code == 200
    assert PASSWORD not in locked.get("/").text
    assert locked.send("/logout", form_at="/").status_code == 303
    assert locked.get("/").status_code == 303


def test_a_login_needs_a_name(locked: Browser) -> None:
    """The log says who made a change."""
    for name in ("", " "):
        assert locked.send("/login", name=name, password=PASSWORD).status_code == 403
    assert locked.get("/").status_code == 303


def test_a_login_ends_with_the_logout_and_after_twelve_hours(
    locked: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    for _ in range(2):
        locked.send("/login", name="ann", password=PASSWORD)
        ((name, cookie),) = locked.cookies.items()
        kept.append({"Cookie": f"{name}={cookie}"})
    locked.send("/logout", form_at="/")
    status = [Browser(locked.app).get("/", headers=headers).status_code for headers in kept]
    assert status == [200, 303]
    later = time.monotonic() + 12 * 3600
    monkeypatch.setattr("shortsdb.console.security.time.monotonic", lambda: later)
    assert Browser(locked.app).get("/", headers=kept[0]).status_code == 303


def test_over_https_the_cookie_is_only_for_https(channel: Engine) -> None:
    browser = Browser(create_app(channel, password=PASSWORD), "https://localhost")
    answer = browser.send("/login", name="ann", password=PASSWORD)
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_forged_or_foreign_cookie_is_no_login(locked: Browser, channel: Engine) -> None:
    locked.send("/login", name="ann", password=PASSWORD)
    ((name, good),) = locked.cookies.items()
    other = Browser(create_app(channel, password=PASSWORD))
    other.send("/login", name="ann", password=PASSWORD)
    ((_, foreign),) = other.cookies.items()
    for cookie in (foreign, good[:-2], good.swapcase(), "", "e30"):
        visitor = Browser(locked.app)
        assert visitor.get("/", headers={"Cookie": f"{name}={cookie}"}).status_code == 303
    assert Browser(locked.app).get("/", headers={"Cookie": f"{name}={good}"}).status_code == 200


def test_too_many_failed_logins_of_an_address_have_to_wait(locked: Browser) -> None:
    for _ in range(5):
        assert locked.send("/login", name="ann", password=WRONG).status_code == 403
    for password in (WRONG, PASSWORD):
        answer = locked.send("/login", name="ann", password=password)
        assert answer.status_code == 429
    assert locked.get("/").status_code == 303


def test_failed_logins_are_counted_for_each_address_and_forgotten(
    new_url: NewUrl,  # noqa: ARG001 - see pytestmark
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("shortsdb.console.security.time.monotonic", lambda: now)
    attempts = Attempts()
    for _ in range(5):
        attempts.refuse("a")
        attempts.failed("a")
    with pytest.raises(Exception, match="quarter of an hour"):
        attempts.refuse("a")
    attempts.refuse("b")
    now += 15 * 60
    attempts.refuse("a")
    for number in range(100):
        attempts.refuse(f"claimed {number}")
        attempts.failed(f"claimed {number}")
    with pytest.raises(Exception, match="quarter of an hour"):
        attempts.refuse("another")
    now += 15 * 60
    attempts.refuse("another")


def test_an_address_that_a_client_claims_is_quoted_in_the_log(
    locked: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """As uvicorn sets it from X-Forwarded-For of a trusted proxy."""
    app = locked.app

    async def forwarded(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": ("1 failed; a login from 2", 0)}, receive, send)

    Browser(forwarded).send("/login", name="ann", password=WRONG)
    assert "a login from '1 failed; a login from 2' failed" in caplog.records[-1].getMessage()


def test_a_password_that_is_not_utf_8_never_matches(channel: Engine) -> None:
    browser = Browser(create_app(channel, password="p\udcff"))  # noqa: S106 - made up
    assert browser.send("/login", name="ann", password=WRONG).status_code == 403


@pytest.mark.parametrize("field", ["token", "password", "name"])
def test_a_form_with_characters_that_do_not_exist_is_refused(locked: Browser, field: str) -> None:
    """Half a pair of UTF-16, which only a form in an odd encoding can hold."""
    token = Page(locked.get("/login").text).hidden()["token"]
    values = {"token": token, "name": "ann", "password": PASSWORD, field: "+2AA-"}
    boundary = "boundary"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"_charset_": "utf-7", **values}.items()
    ]
    content = f"multipart/form-data; boundary={boundary}; charset=utf-7"
    answer = locked.request(
        "POST",
        "/login",
        headers={"Content-Type": content},
        content="".join([*parts, f"--{boundary}--\r\n"]),
    )
    assert answer.status_code == (403 if field == "token" else 400)


def test_a_form_with_a_file_is_refused(locked: Browser) -> None:
    """A file is written to the disk before anybody has logged in."""
    part = 'Content-Disposition: form-data; name="f"; filename="f"'
    answer = locked.request(
        "POST",
        "/login",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        content=f"--b\r\n{part}\r\n\r\nx\r\n--b--\r\n",
    )
    assert answer.status_code == 400


def test_a_form_that_the_client_cuts_off_is_no_error(
    locked: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"token=", "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/login",
        "raw_path": b"/login",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ],
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def main() -> None:
        await locked.app(scope, receive, send)

    asyncio.run(main())
    assert sent[0]["status"] == 400
    assert not caplog.records


@pytest.mark.parametrize("token", ["", "nonsense", "é"])
def test_a_form_without_the_token_of_this_browser_is_refused(locked: Browser, token: str) -> None:
    locked.get("/login")
    answer = locked.request(
        "POST", "/login", data={"token": token, "name": "ann", "password": PASSWORD}
    )
    assert answer.status_code == 403
    assert locked.get("/").status_code == 303


def test_the_token_of_another_browser_is_refused(locked: Browser) -> None:
    other = Browser(locked.app)
    token = re.findall(r'name="token" value="([^"]+)"', other.get("/login").text)[0]
    locked.get("/login")
    form = {"token": token, "name": "ann", "password": PASSWORD}
    assert locked.request("POST", "/login", data=form).status_code == 403


def test_errors_name_no_password_of_the_url(
    new_url: NewUrl,  # noqa: ARG001 - see pytestmark
    tmp_path: Path,
) -> None:
    engine = create_engine(f"postgresql+psycopg://u:hush@/d?host={tmp_path}")
    for path in ("/", "/tables/clips"):
        answer = Browser(create_app(engine)).get(path)
        assert answer.status_code == 503
        assert "hush" not in answer.text
