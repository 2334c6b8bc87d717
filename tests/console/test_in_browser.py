"""The console in Chromium: each page, by keyboard, with markup in its rows, locked and at odds."""

from __future__ import annotations

import csv
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from chromium import Tab, chromium, console
from playwright.sync_api import expect
from postgresql_server import Server

from shortsdb.console.tables import views
from shortsdb.database import get_session, init_db, seed_db
from shortsdb.engine import create_engine
from shortsdb.models.types import utcnow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page

UNAVAILABLE = "The database is not available"
MARKUP = """<script>window.hurt = 1</script><img src=x onerror="window.hurt = 1">'"&amp;{{ 7 }}"""
LONG_WORD = "w" * 300
SQLITE3 = shutil.which("sqlite3") or "sqlite3"
PASSWORD = "right horse"  # noqa: S105 - of this test


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def seeded(head_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a week of a channel up to now; tests that change it copy it."""
    path = tmp_path_factory.mktemp("seeded") / "channel.db"
    shutil.copy(head_file, path)
    engine = create_engine(path, pragmas={"journal_mode": None})
    with get_session(engine) as session:
        seed_db(session, end=utcnow(), days=7)
    engine.dispose()
    return path


@pytest.fixture(scope="module")
def address(seeded: Path) -> Iterator[str]:
    """Return the address of a console that reads the channel."""
    with console(seeded) as address:
        yield address


def rows_of_each_table(path: Path) -> list[str]:
    """Return the address of a page of a row of each table; of a run, the one that failed last."""
    found = []
    with closing(sqlite3.connect(path)) as connection:
        for view in views().values():
            chosen = " WHERE status = 'failed'" if view.name == "pipeline_runs" else ""
            (key,) = connection.execute(
                f"SELECT max({view.key.key}) FROM {view.name}{chosen}"
            ).fetchone()
            found.append(f"/tables/{view.name}/row?key={key}")
    return found


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_every_page_fits_and_is_accessible(
    browser: Browser, seeded: Path, address: str, width: int, scheme: str
) -> None:
    lists = [f"/tables/{name}" for name in views()]
    with Tab(browser, address, width=width, color_scheme=scheme) as tab:
        found = {}
        for path in ("/", *lists, *rows_of_each_table(seeded)):
            tab.open(path)
            found[path] = tab.findings()
        assert found == {path: [] for path in found}


@pytest.mark.parametrize(("width", "scheme"), [(1400, "dark"), (390, "light")])
def test_the_first_page_and_a_run_in_the_other_scheme(
    browser: Browser, seeded: Path, address: str, width: int, scheme: str
) -> None:
    (run,) = (path for path in rows_of_each_table(seeded) if "pipeline_runs" in path)
    with Tab(browser, address, width=width, color_scheme=scheme) as tab:
        for path in ("/", run):
            tab.open(path)
            assert tab.findings() == [], path


def test_colours_follow_the_scheme_also_while_a_page_is_open(
    browser: Browser, address: str
) -> None:
    with Tab(browser, address, color_scheme="light") as tab:
        page = tab.open("/")
        colour = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(colour)
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"{colour} != {light!r}")
        expect(page.locator("canvas")).to_have_count(2)  # drawn again
        assert tab.findings() == []


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until an element has the focus, which must be visible on each on the way."""
    expect(wanted).to_be_visible()
    for _ in range(150):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count():
            outline = focused.evaluate("e => getComputedStyle(e).outlineStyle")
            assert outline != "none", focused.evaluate("e => e.outerHTML")
        if wanted.evaluate("e => e === document.activeElement"):
            return
    pytest.fail("150 times Tab do not lead there")


def test_the_keyboard_alone_leads_to_a_run(browser: Browser, address: str) -> None:
    with Tab(browser, address) as tab:
        page = tab.open("/")
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
        page.reload()
        tab_to(page, page.get_by_role("navigation").get_by_role("link", name="Pipeline runs"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Pipeline runs")
        status = page.get_by_label("Status")
        tab_to(page, status)
        page.keyboard.type("failed")
        expect(status).to_have_value("failed")
        tab_to(page, page.get_by_role("button", name="Filter"))
        page.keyboard.press("Enter")
        page.wait_for_url("**status=failed**")
        first = page.locator("tbody tr").first
        tab_to(page, first.get_by_role("link").first)
        number = first.get_by_role("link").first.inner_text()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Pipeline run {number}")
        assert tab.wrong == []


def test_pages_sorts_and_exports_of_a_list(browser: Browser, address: str, tmp_path: Path) -> None:
    with Tab(browser, address) as tab:
        page = tab.open("/tables/discovered_videos")
        first = page.locator("tbody tr").first.locator("a").first
        newest = int(first.inner_text())
        page.get_by_role("link", name="Next page").click()
        expect(first).to_have_text(str(newest - 50))
        page.get_by_role("link", name="Previous page").click()
        expect(first).to_have_text(str(newest))
        page.get_by_role("columnheader").first.get_by_role("link").click()
        expect(first).to_have_text("1")
        page.get_by_label("Search").fill("first snow")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator("tbody")).to_contain_text("A cat meets its first snow")
        expect(page.locator("tbody")).not_to_contain_text("salmon")
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        download.value.save_as(tmp_path / "found.csv")
        with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
            titles = {row["title"] for row in csv.DictReader(file)}
        assert titles == {"A cat meets its first snow"}
        assert tab.wrong == []


def test_a_time_says_the_readers_own_on_hover(browser: Browser, address: str) -> None:
    with Tab(browser, address, timezone_id="Asia/Tokyo", locale="en-GB") as tab:
        time = tab.open("/").locator("time").first
        hours, minutes = time.inner_text().split()[1].split(":")[:2]
        expect(time).to_have_attribute(
            "title", re.compile(rf"\b{(int(hours) + 9) % 24:02}:{minutes}:\d\d GMT\+9")
        )


def mark_up(path: Path) -> None:
    """Put markup into every text of every table; statuses stay in every second row."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for view in views().values():
            for field in view.searched:
                link = (
                    "CASE rowid % 2 WHEN 1 THEN 'https://x/' ELSE 'javascript:window.hurt=1//' END"
                )
                start = f"{link} || :markup" if field.key.endswith("url") else ":markup"
                some = " WHERE rowid % 2" if field.key == "status" else ""
                connection.execute(
                    f"UPDATE {view.name} SET {field.key} = {start}"
                    f" || coalesce({field.key}, ''){some}",
                    {"markup": f"{MARKUP} {LONG_WORD} "},
                )


def test_markup_in_every_text_of_every_table_is_shown_as_text(
    browser: Browser, seeded: Path, tmp_path: Path
) -> None:
    path = tmp_path / "marked.db"
    shutil.copy(seeded, path)
    mark_up(path)
    names = list(views())
    with console(path) as address, Tab(browser, address, width=390) as tab:
        for table in ("", *names):
            page = tab.open(f"/tables/{table}" if table else "/")
            check_markup(tab)
            if table:
                page.locator("tbody tr").first.get_by_role("link").first.click()
                check_markup(tab)
        page = tab.open("/tables/pipeline_runs?niche=" + "%3Cscript%3E&q=%3Cimg%20src=x%3E")
        expect(page.get_by_label("Search")).to_have_value("<img src=x>")
        assert page.locator("img").count() == 0


def check_markup(tab: Tab) -> None:
    """Fail unless the page shows the markup as it is, and nothing of it has become an element."""
    expect(tab.page.locator("main")).to_contain_text(MARKUP[:30])
    assert tab.page.evaluate("window.hurt") is None
    assert tab.page.locator("main script, main img, a[href^='javascript' i]").count() == 0
    assert (
        tab.page.evaluate(
            "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
            ".filter(a => a.name.startsWith('on')).length"
        )
        == 0
    )
    assert [*tab.wrong, *tab.overflow()] == []


def expect_recovery(tab: Tab, *, said: str) -> None:
    """Fail unless each page says what is wrong, in a page of its own."""
    for path in ("/", "/tables/clips", "/tables/pipeline_runs/row?key=1"):
        page = tab.open(path)
        expect(page.get_by_role("heading", level=1)).to_have_text(UNAVAILABLE)
        expect(page.get_by_role("alert")).to_contain_text(said)
        assert tab.overflow() == []


@pytest.mark.parametrize("content", ["nothing", "the deployed tables"])
def test_a_database_that_is_not_at_head_has_a_page(
    browser: Browser, deployed_file: Path, tmp_path: Path, content: str
) -> None:
    path = deployed_file if content == "the deployed tables" else tmp_path / "empty.db"
    path.touch()
    with console(path) as address, Tab(browser, address, width=390) as tab:
        page = tab.open("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        expect(page.get_by_role("status")).to_contain_text("Run shortsdb upgrade")
        assert tab.findings() == []


def test_a_file_that_goes_away_and_comes_back(
    browser: Browser, seeded: Path, tmp_path: Path
) -> None:
    path = tmp_path / "channel.db"
    shutil.copy(seeded, path)
    with console(path) as address, Tab(browser, address) as tab:
        heading = tab.open("/").get_by_role("heading", level=1)
        expect(heading).to_have_text("Overview")
        path.rename(tmp_path / "away.db")
        expect_recovery(tab, said="does not exist")
        assert not path.exists()
        (tmp_path / "away.db").rename(path)
        tab.page.reload()
        expect(heading).to_have_text("Pipeline run 1")


def test_a_server_that_goes_away_and_comes_back(browser: Browser) -> None:
    with Server() as server:
        url = server.create_database().url
        engine = init_db(url)
        with get_session(engine) as session:
            seed_db(session, end=utcnow())
        engine.dispose()
        with console(url) as address, Tab(browser, address) as tab:
            heading = tab.open("/").get_by_role("heading", level=1)
            expect(heading).to_have_text("Overview")
            server.stop()
            expect_recovery(tab, said="connection is bad")
            server.start()
            tab.page.reload()
            expect(heading).to_have_text("Pipeline run 1")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have another process hold the exclusive lock."""
    with subprocess.Popen(
        [SQLITE3, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        print("BEGIN EXCLUSIVE; SELECT 'locked';", file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "locked\n"
        yield


def test_a_locked_file_has_a_page_with_the_reason(
    browser: Browser, seeded: Path, tmp_path: Path
) -> None:
    path = tmp_path / "channel.db"
    shutil.copy(seeded, path)
    with console(path) as address, Tab(browser, address) as tab:
        with locked(path):
            expect_recovery(tab, said="locked")
        page = tab.open("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


@pytest.fixture
def changing(seeded: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Return a console that may change a copy of the channel, and the copy."""
    path = tmp_path / "channel.db"
    shutil.copy(seeded, path)
    with console(path, "--allow-changes") as address:
        yield address, path


def value_of(path: Path, statement: str) -> object:
    """Return the first value that a statement finds, or None."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(statement).fetchone()
    return row and row[0]


def test_two_operators_resolve_the_same_error(browser: Browser, changing: tuple[str, Path]) -> None:
    address, path = changing
    unresolved = "SELECT count(*) FROM error_logs WHERE resolved = 0"
    before = value_of(path, unresolved)
    with Tab(browser, address) as one, Tab(browser, address, width=390) as other:
        tabs = (one, other)
        for tab in tabs:
            page = tab.open("/")
            page.locator("[aria-labelledby=errors] tbody a").first.click()
            page.get_by_role("link", name="Mark as resolved").click()
            assert tab.findings() == []
        for tab in tabs:
            tab.page.get_by_role("button", name="Mark as resolved").click()
            resolved = tab.page.locator("dt", has_text="Resolved").locator("+ dd").first
            expect(resolved).to_have_text("yes")
            assert tab.findings() == []
        expect(one.page.get_by_role("heading", level=1)).to_contain_text("Error log")
        expect(other.page.locator("main")).to_contain_text("Nothing was changed: meanwhile")
    assert (before, value_of(path, unresolved)) == (9, 8)


def test_two_operators_change_the_same_override(
    browser: Browser, changing: tuple[str, Path]
) -> None:
    address, path = changing
    value = "SELECT value FROM config_overrides WHERE key = 'clips_per_run'"
    with Tab(browser, address) as one, Tab(browser, address) as other:
        for tab in (one, other):
            tab.open("/tables/config_overrides/row?key=clips_per_run")
        other.page.get_by_role("link", name="Delete").click()
        one.page.get_by_role("link", name="Change").click()
        one.page.get_by_label("Value").fill("5")
        one.page.get_by_role("button", name="Continue").click()
        assert one.findings() == []
        one.page.get_by_role("button", name="Set the override").click()
        expect(one.page.get_by_role("heading", level=1)).to_have_text(
            "Config override clips_per_run"
        )
        assert value_of(path, value) == "5"

        # The other one has not seen the 5 yet, so it is not deleted.
        other.page.get_by_role("button", name="Delete the override").click()
        expect(other.page.locator("main")).to_contain_text("meanwhile")
        assert value_of(path, value) == "5"
        other.open("/changes/delete-override?key=clips_per_run")
        assert other.findings() == []
        one.open("/changes/set-override?key=clips_per_run")
        one.page.get_by_label("Value").fill("6")
        one.page.get_by_role("button", name="Continue").click()
        other.page.get_by_role("button", name="Delete the override").click()
        expect(other.page.get_by_role("heading", level=1)).to_have_text("Config overrides")
        one.page.get_by_role("button", name="Set the override").click()
        expect(one.page.locator("main")).to_contain_text("meanwhile the row was deleted")
        assert value_of(path, value) is None
        # What was typed is still there.
        one.page.get_by_role("button", name="Set the override").click()
        expect(one.page.get_by_role("heading", level=1)).to_contain_text("clips_per_run")
        assert value_of(path, value) == "6"


def test_a_value_of_several_lines_stays_as_it_is_until_it_is_changed(
    browser: Browser, changing: tuple[str, Path]
) -> None:
    address, path = changing
    value = '\n{\n  "a": 1\n}'
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE config_overrides SET value = ? WHERE key = 'clips_per_run'", (value,)
        )
    with Tab(browser, address) as tab:
        page = tab.open("/changes/set-override?key=clips_per_run")
        assert tab.findings() == []
        expect(page.get_by_label("Value")).to_have_value(value)
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("button", name="Set the override").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("clips_per_run")
        stored = "SELECT value FROM config_overrides WHERE key = 'clips_per_run'"
        assert value_of(path, stored) == value

        # Another operator's change is announced before the question.
        page = tab.open("/changes/set-override?key=clips_per_run")
        page.get_by_label("Value").fill("mine")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "UPDATE config_overrides SET value = 'theirs' WHERE key = 'clips_per_run'"
            )
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("alert")).to_contain_text("meanwhile the row has become")
        expect(page.locator("main")).to_contain_text("theirs")


def log_in(page: Page, password: str) -> None:
    page.get_by_label("Your name").fill("operator")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_the_login(browser: Browser, seeded: Path) -> None:
    with console(seeded, SHORTSDB_CONSOLE_PASSWORD=PASSWORD) as address:
        with Tab(browser, address) as tab:
            page = tab.open("/tables/clips")
            heading = page.get_by_role("heading", level=1)
            expect(heading).to_have_text("Log in")
            assert tab.findings() == []
            log_in(page, "wrong")
            expect(page.get_by_role("alert")).to_contain_text("the password is wrong")
            assert tab.findings() == []
            log_in(page, PASSWORD)
            expect(heading).to_have_text("Overview")
            (cookie,) = page.context.cookies()
            assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
            page.get_by_role("button", name="Log out operator").click()
            expect(heading).to_have_text("Log in")
            tab.open("/tables/clips")
            expect(heading).to_have_text("Log in")
        with Tab(browser, address) as guessing:
            page = guessing.open("/")
            for _ in range(4):  # after the one above
                log_in(page, "wrong")
                expect(page.get_by_label("Your name")).to_have_value("")
            log_in(page, PASSWORD)
            expect(page.locator("main")).to_contain_text("too many failed logins")


def test_a_link_from_elsewhere_leaves_the_login_as_it_is(browser: Browser, seeded: Path) -> None:
    with (
        console(seeded, SHORTSDB_CONSOLE_PASSWORD=PASSWORD) as address,
        Tab(browser, address) as tab,
    ):
        page = tab.open("/login")
        log_in(page, PASSWORD)
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_have_text("Overview")
        link = f'<a href="{address}/tables/clips">clips</a>'
        page.route(
            "http://elsewhere.example/",
            lambda route: route.fulfill(body=link, content_type="text/html"),
        )
        page.goto("http://elsewhere.example/")
        page.get_by_role("link").click()
        expect(heading).to_have_text("Clips")
        tab.open("/")
        expect(heading).to_have_text("Overview")


# What an operator wants to know, from the first page: each in so many clicks.


def test_last_nights_failure_and_its_reason_take_one_click(browser: Browser, address: str) -> None:
    with Tab(browser, address) as tab:
        page = tab.open("/")
        newest = page.get_by_role("region", name="Last failed runs").locator("tbody tr").first
        expect(newest).to_contain_text("cats")
        expect(newest).to_contain_text("No space left on device")
        newest.get_by_role("link").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Pipeline run")
        expect(page.locator("main")).to_contain_text('File "pipeline/render.py", line 118')
        expect(page.locator("main")).to_contain_text("OSError: [Errno 28] No space left on device")


def test_the_review_that_waits_longest_takes_one_click(browser: Browser, address: str) -> None:
    with Tab(browser, address) as tab:
        page = tab.open("/")
        oldest = page.get_by_role("region", name="Open reviews").locator("tbody tr").first
        expect(oldest).to_contain_text("cooking")
        expect(oldest).to_contain_text("1 day 6 hours")
        oldest.get_by_role("link").nth(1).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Pipeline run")
        expect(page.locator("main")).to_contain_text("review requested")


def test_the_niche_that_grows_fastest_takes_no_click(browser: Browser, address: str) -> None:
    with Tab(browser, address) as tab:
        page = tab.open("/")
        growth = page.get_by_role("region", name="Growth")
        expect(growth).to_contain_text("cooking grew fastest")
        growth.locator("summary").first.click()
        expect(growth.locator("tbody tr").first).to_contain_text("cooking")
