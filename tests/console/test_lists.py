"""Lists: pages in every order, filters, search, and exports of all rows."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from browser import Browser
from sqlalchemy import event, insert, select, text

from shortsdb.console import create_app
from shortsdb.console.lists import BEGINNING, PAGE_ROWS
from shortsdb.console.tables import views
from shortsdb.database import get_session
from shortsdb.engine import session_factory
from shortsdb.models import Analytics, ConfigOverride, ErrorLog, PipelineRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

# 2026-01-01 has no time zone in the models.
START = datetime(2026, 1, 1)  # noqa: DTZ001 - the models hold naive UTC


@pytest.fixture
def measured(channel: Engine) -> Engine:
    """Return an engine on a database with some pages of snapshots, of which many are alike."""
    with get_session(channel) as session:
        session.execute(
            insert(Analytics),
            [
                {
                    "youtube_video_id": f"v{number % 3}",
                    "measured_at": START + timedelta(seconds=number // 60),
                    "view_count": number,
                }
                for number in range(4 * PAGE_ROWS)
            ],
        )
        # Raw SQL writes whole seconds; two texts of one moment must not hide a row.
        session.execute(
            text(
                "INSERT INTO analytics (youtube_video_id, measured_at, view_count) "
                "SELECT youtube_video_id, '2026-01-01 00:00:01', -id FROM analytics "
                "WHERE youtube_video_id = 'v1'"
            )
        )
        session.commit()
    return channel


def keys(page: str, name: str) -> list[str]:
    return re.findall(rf'"/tables/{name}/row\?key=(\d+)"', page)


def pages(browser: Browser, address: str, rel: str) -> Iterator[str]:
    """Give the pages from one on, following the links to the next or the previous ones."""
    base = address.partition("?")[0]
    while True:
        page = browser.get(address).text
        yield page
        link = re.search(rf'rel="{rel}" href="([^"]+)"', page)
        if link is None:
            return
        address = base + link[1].replace("&amp;", "&")


@pytest.mark.parametrize("sort", ["id", "-id", "youtube_video_id", "-youtube_video_id"])
def test_pages_have_every_row_once_in_the_order_of_the_index(measured: Engine, sort: str) -> None:
    browser = Browser(create_app(measured))
    order = [Analytics.__table__.c[sort.removeprefix("-")], Analytics.measured_at, Analytics.id]
    if sort.endswith("id") and "youtube" not in sort:
        order = order[:1]
    with session_factory(measured, read_only=True)() as session:
        expected = [
            str(key)
            for key in session.scalars(
                select(Analytics.id).order_by(
                    *(column.desc() if sort.startswith("-") else column for column in order)
                )
            )
        ]
    forwards = list(pages(browser, f"/tables/analytics?sort={sort}", "next"))
    found = [keys(page, "analytics") for page in forwards]
    assert sum(found, []) == expected  # noqa: RUF017 - a handful of pages
    assert len(found) == -(-len(expected) // PAGE_ROWS)
    last = f"/tables/analytics?sort={sort}&after={found[-2][-1]}"
    back = [keys(page, "analytics") for page in pages(browser, last, "prev")]
    assert back == found[::-1]


def test_no_page_of_a_list_counts_or_sorts_all_rows(measured: Engine) -> None:
    """The statements of every order; the plan of a large table is SQLite's."""
    statements: list[str] = []
    event.listen(measured, "before_cursor_execute", lambda *given: statements.append(str(given[2])))
    browser = Browser(create_app(measured))
    for name, view in views().items():
        for sort in view.sorts:
            for parameters in (f"sort={sort}&after=2", f"sort=-{sort}", f"sort={sort}&before=2"):
                assert browser.get(f"/tables/{name}?{parameters}").status_code == 200
    reads = [statement for statement in statements if "ORDER BY" in statement]
    assert len(reads) == 3 * sum(len(view.sorts) for view in views().values())
    with measured.connect() as connection:
        for statement in reads:
            assert "count(" not in statement.lower()
            assert "LIMIT" in statement
            if measured.dialect.name == "sqlite":
                explain = text("EXPLAIN QUERY PLAN " + statement.replace("?", "1"))
                plan = [row.detail for row in connection.execute(explain)]
                assert not any("TEMP B-TREE" in step for step in plan), (statement, plan)


def test_rows_with_null_are_on_the_pages_of_every_order(
    measured: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small pages: each order of each table meets NULLs at the end of a page."""
    monkeypatch.setattr("shortsdb.console.lists.PAGE_ROWS", 8)
    with get_session(measured) as session:
        session.add_all(
            ErrorLog(module=f"m{number % 2}", error_type="E", error_message="x")
            for number in range(4)
        )
        session.commit()
    browser = Browser(create_app(measured))
    tables = set[str]()
    for name, view in views().items():
        indexed = (column for index in view.key.column.table.indexes for column in index.columns)
        if not any(column.nullable for column in indexed):
            continue
        tables.add(name)
        with session_factory(measured, read_only=True)() as session:
            expected = sorted(map(str, session.scalars(select(view.key.column))))
        for sort in view.sorts:
            for direction in ("", "-"):
                address = f"/tables/{name}?sort={direction}{sort}"
                found = [keys(page, name) for page in pages(browser, address, "next")]
                assert sorted(sum(found, [])) == expected, address  # noqa: RUF017 - as above
    assert tables == {"error_logs", "review_logs", "shorts"}


def test_filters_and_search_find_their_rows(browser: Browser, channel: Engine) -> None:
    with get_session(channel) as session:
        session.add_all(
            [
                ErrorLog(module="render", error_type="Odd%Error", error_message="Half_way THERE"),
                ErrorLog(module="render2", error_type="OddXError", error_message="Halfzway"),
            ]
        )
        session.commit()
    for address, found in (
        ("/tables/error_logs?module=render", ["Odd%Error"]),
        ("/tables/error_logs?module=rend", []),
        ("/tables/error_logs?q=odd%25e", ["Odd%Error"]),
        ("/tables/error_logs?q=half_WAY", ["Odd%Error"]),
        ("/tables/error_logs?q=render2", ["OddXError"]),
        ("/tables/error_logs?q=nothing-of-it", []),
        ("/tables/error_logs?resolved=1&module=render", []),
        ("/tables/error_logs?module=render&unknown=1", ["Odd%Error"]),
    ):
        page = browser.get(address)
        assert page.status_code == 200
        assert re.findall(r"Odd.Error(?=</td>|\s*</td>)", page.text) == found, address


def test_long_texts_are_cut_in_lists_and_whole_on_their_page(
    browser: Browser, channel: Engine
) -> None:
    with get_session(channel) as session:
        error = ErrorLog(module="m", error_type="E", error_message="x" * 5_000)
        session.add(error)
        session.commit()
        key = error.id
    listed = browser.get("/tables/error_logs?module=m").text
    assert "x" * BEGINNING + "…" in listed
    assert "x" * (BEGINNING + 1) not in listed
    assert "x" * 5_000 in browser.get(f"/tables/error_logs/row?key={key}").text


def test_an_export_has_all_rows_of_the_list(measured: Engine) -> None:
    browser = Browser(create_app(measured))
    for name, view in views().items():
        sort = view.key.key
        with get_session(measured) as session:
            rows = session.scalars(select(view.model).order_by(view.key.column))
            expected = [row.to_dict(mode="json") for row in rows]
        assert expected
        answer = browser.get(f"/export/{name}.json?sort={sort}&after=3")
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}.json"'
        assert json.loads(answer.text) == expected
        found = csv.DictReader(io.StringIO(browser.get(f"/export/{name}.csv?sort={sort}").text))
        assert list(found) == [
            {key: "" if value is None else str(value) for key, value in row.items()}
            for row in expected
        ]


def test_an_export_is_made_in_pieces(measured: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortsdb.console.export._PIECE", 7)
    browser = Browser(create_app(measured))
    with get_session(measured) as session:
        expected = session.scalars(select(Analytics.id).order_by(Analytics.id.desc())).all()
        last = expected[-1]
    assert [row["id"] for row in json.loads(browser.get("/export/analytics.json").text)] == expected
    one = json.loads(browser.get(f"/export/analytics.json?id={last}").text)
    assert [row["id"] for row in one] == [last]
    assert json.loads(browser.get("/export/analytics.json?id=0").text) == []


def test_a_spreadsheet_takes_no_cell_of_an_export_for_a_formula(
    browser: Browser, channel: Engine
) -> None:
    formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")', "plain"]
    with get_session(channel) as session:
        session.query(ConfigOverride).delete()
        session.add_all(
            ConfigOverride(key=f"{number}", value=value) for number, value in enumerate(formulas)
        )
        run = session.scalars(select(PipelineRun).limit(1)).one()
        run.video_duration_seconds = -1.5
        session.commit()
        key = run.id
    rows = list(
        csv.DictReader(io.StringIO(browser.get("/export/config_overrides.csv").text, newline=""))
    )
    assert [row["value"] for row in rows] == [
        value if value == "plain" else f"'{value}" for value in formulas
    ]
    (row,) = csv.DictReader(io.StringIO(browser.get(f"/export/pipeline_runs.csv?id={key}").text))
    assert row["video_duration_seconds"] == "-1.5"  # a number is no text


@pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)
def test_what_raw_sql_left_in_a_sqlite_file_is_shown_and_exported(
    browser: Browser, channel: Engine
) -> None:
    with channel.begin() as connection:
        connection.execute(text("DELETE FROM analytics"))
        connection.execute(
            text(
                "INSERT INTO analytics (id, youtube_video_id, measured_at, view_count, "
                "click_through_rate) VALUES (1, x'ff61', 'yesterday', 'many', 9e999)"
            )
        )
    for path in ("/tables/analytics", "/tables/analytics/row?key=1"):
        page = browser.get(path)
        assert page.status_code == 200
        for value in (r"\xffa", "yesterday", "many", "inf"):
            assert value in page.text
    (row,) = json.loads(browser.get("/export/analytics.json").text)
    assert row["youtube_video_id"] == r"\xffa"
    assert row["measured_at"] == "yesterday"
    assert row["click_through_rate"] is None
    assert "yesterday" in browser.get("/export/analytics.csv").text
