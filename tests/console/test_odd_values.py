"""Values that only raw SQL writes: no page is lost for one of them."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from browser import Browser
from sqlalchemy import insert, select, text
from uploaded_run import uploaded_run

from shortsdb.console import create_app
from shortsdb.database import get_session
from shortsdb.models import Analytics, ErrorLog, PipelineRun, ReviewLog, Script, Short
from shortsdb.models.types import utcnow

if TYPE_CHECKING:
    from sqlalchemy import Engine

TIMES = {
    "pipeline_runs": ["started_at", "completed_at"],
    "scripts": ["generated_at"],
    "tts_audio": ["generated_at"],
    "review_logs": ["sent_at", "responded_at"],
    "error_logs": ["occurred_at"],
    "shorts": ["uploaded_at"],
}
only_sqlite = pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)


@pytest.fixture
def run(channel: Engine) -> int:
    """Return a failed run with a row of each table below it, an open review and an open error."""
    with get_session(channel) as session:
        run = session.scalars(select(PipelineRun).where(PipelineRun.status == "uploaded")).first()
        assert run is not None
        run.status = "failed"
        run.review_logs.append(ReviewLog(sent_at=utcnow()))
        run.error_logs.append(ErrorLog(module="m", error_type="E", error_message="x"))
        session.commit()
        assert run.scripts
        assert run.tts_audio
        return run.id


def assert_shown(browser: Browser, channel: Engine, run: int, value: str, shown: str) -> None:
    """Assert that every page with a time is there when all times are `value`."""
    with channel.begin() as connection:
        for table, columns in TIMES.items():
            for column in columns:
                connection.execute(
                    text(f"UPDATE {table} SET {column} = {value} WHERE {column} IS NOT NULL")
                )
    for path in ("/", f"/tables/pipeline_runs/row?key={run}"):
        assert browser.get(path).status_code == 200, path
    for table in TIMES:
        row = "id" if table == "pipeline_runs" else "pipeline_run_id"
        assert shown in browser.get(f"/tables/{table}?{row}={run}").text, table
        exported = browser.get(f"/export/{table}.csv?{row}={run}")
        assert shown in exported.text, table


@only_sqlite
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("'yesterday'", "yesterday"),
        ("17", "17"),
        ("1701012341530", "1701012341530"),
        ("2.5", "2.5"),
        ("x'ff'", r"\xff"),
        ("'0001-01-01 00:00:00+14:00'", "0001-01-01 00:00:00+14:00"),
        ("'9999-12-31 23:59:59-14:00'", "9999-12-31 23:59:59-14:00"),
        ("CAST(x'61ff' AS TEXT)", r"a\xff"),
    ],
)
def test_a_value_that_is_no_time_is_shown_as_it_is(
    browser: Browser, channel: Engine, run: int, value: str, shown: str
) -> None:
    assert_shown(browser, channel, run, value, shown)


@pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("value", ["infinity", "-infinity", "0044-03-15 00:00:00+00 BC"])
def test_a_time_of_postgresql_that_python_does_not_have_is_shown(
    browser: Browser, channel: Engine, run: int, value: str
) -> None:
    assert_shown(browser, channel, run, f"'{value}'", value)


@only_sqlite
def test_text_that_is_not_utf_8_is_shown_escaped(
    browser: Browser, channel: Engine, run: int
) -> None:
    with channel.begin() as connection:
        for column in ("niche", "error_message"):
            connection.execute(text(f"UPDATE pipeline_runs SET {column} = CAST(x'61ff' AS TEXT)"))
        connection.execute(text("UPDATE error_logs SET error_message = CAST(x'61ff' AS TEXT)"))
    for path in (
        "/",
        "/tables/pipeline_runs",
        f"/tables/pipeline_runs/row?key={run}",
        "/export/pipeline_runs.csv",
        "/export/error_logs.json",
    ):
        page = browser.get(path)
        assert page.status_code == 200, path
        assert r"a\xff" in page.text.replace("\\\\", "\\"), path
    with channel.connect() as connection, pytest.raises(Exception, match="UTF-8"):
        connection.execute(text("SELECT niche FROM pipeline_runs")).all()  # only the console's


def test_a_script_with_half_a_character_has_a_page(
    browser: Browser, channel: Engine, run: int
) -> None:
    with get_session(channel) as session:
        script = session.scalars(select(Script).where(Script.pipeline_run_id == run)).first()
        assert script is not None
        script.full_script_json = '["half \\ud83d of it"]'
        session.commit()
        key = script.id
    for path in (f"/tables/pipeline_runs/row?key={run}", f"/tables/scripts/row?key={key}"):
        page = browser.get(path)
        assert page.status_code == 200
        assert "half ? of it" in page.text


def test_the_largest_counts_are_added_up(browser: Browser, channel: Engine) -> None:
    now = utcnow()
    with get_session(channel) as session:
        run = uploaded_run("huge", "v0", now, days=3)
        run.shorts += [
            Short(status="uploaded", uploaded_at=now, youtube_video_id=f"v{number}")
            for number in (1, 2)
        ]
        session.add(run)
        session.execute(
            insert(Analytics),
            [
                {"youtube_video_id": f"v{number}", "view_count": count, "measured_at": measured}
                for number in range(3)
                for count, measured in (
                    (0, now - timedelta(days=3)),
                    (2**63 - 1, now - timedelta(days=1)),
                )
            ],
        )
        session.commit()
    home = browser.get("/")
    assert home.status_code == 200
    assert re.search(r"huge</strong> grew fastest: [\d,]{26} views", home.text)


def test_a_row_with_a_negative_id_has_a_page(browser: Browser, channel: Engine) -> None:
    with get_session(channel) as session:
        session.add(ErrorLog(id=-5, module="m", error_type="E", error_message="below zero"))
        session.commit()
    for path in ("row?key=-5", "?id=-5", "?sort=id&before=-4"):
        page = browser.get(f"/tables/error_logs/{path}".replace("/?", "?"))
        assert page.status_code == 200
        assert "below zero" in page.text


@only_sqlite
@pytest.mark.usefixtures("run")
def test_an_open_review_whose_run_is_gone_is_shown(browser: Browser, channel: Engine) -> None:
    with closing(sqlite3.connect(channel.url.database or "")) as other, other:
        other.execute("UPDATE review_logs SET pipeline_run_id = 777 WHERE responded_at IS NULL")
        (key,) = other.execute("SELECT id FROM review_logs WHERE pipeline_run_id = 777").fetchone()
    assert f"/tables/review_logs/row?key={key}" in browser.get("/").text


@only_sqlite
def test_infinite_counts_and_a_niche_that_is_no_text_take_no_page_away(
    browser: Browser, channel: Engine, run: int
) -> None:
    with channel.begin() as connection:
        connection.execute(text("UPDATE pipeline_runs SET status = 'uploaded'"))
        connection.execute(text(f"UPDATE pipeline_runs SET niche = x'ff' WHERE id = {run}"))
        connection.execute(
            text(f"UPDATE analytics SET view_count = 9e999, measured_at = '{utcnow()}'")
        )
    assert r"\xff" in browser.get("/").text


@only_sqlite
@pytest.mark.usefixtures("run")
def test_no_page_and_no_log_has_the_text_that_is_not_utf_8_of_a_change(
    channel: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with channel.begin() as connection:
        connection.execute(
            text("UPDATE error_logs SET error_message = CAST(x'7365637265742074657874ff' AS TEXT)")
        )
        key = connection.scalar(text("SELECT id FROM error_logs ORDER BY id DESC"))
    changing = Browser(create_app(channel, allow_changes=True))
    asked = changing.get(f"/changes/resolve-error?id={key}")
    assert r"secret text\xff" in asked.text
    done = changing.submit("/changes/resolve-error", asked, id=str(key), confirmed="yes")
    assert done.status_code == 503
    assert "Could not decode to UTF-8 column" in done.text
    assert "Could not decode to UTF-8 column" in caplog.text
    assert "secret text" not in done.text + caplog.text
