"""Exports that go on while rows are deleted, are large, or end in an error."""

from __future__ import annotations

import json
import traceback
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import Browser
from sqlalchemy import delete, insert, select, text

from shortsdb.console import create_app
from shortsdb.console.export import EXPORTS, ExportCutOffError
from shortsdb.console.lists import ListQuery
from shortsdb.console.security import Sessions
from shortsdb.console.site import Site
from shortsdb.console.tables import views
from shortsdb.database import get_session
from shortsdb.models import Analytics, ErrorLog

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session
    from starlette.types import Message, Receive, Scope, Send


def site_on(engine: Engine) -> Site:
    return Site(engine, Sessions(None), allow_changes=False)


@pytest.mark.parametrize("sort", ["youtube_video_id", "-youtube_video_id"])
def test_an_export_goes_on_when_its_last_row_is_deleted(
    channel: Engine, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    monkeypatch.setattr("shortsdb.console.export._PIECE", 3)
    with get_session(channel) as session:
        expected = set(session.scalars(select(Analytics.id)))
    query = ListQuery.parse(views()["analytics"], {"sort": sort})
    site = site_on(channel)
    pieces = 0

    def reading() -> AbstractContextManager[Session]:
        nonlocal pieces
        pieces += 1
        if pieces == 2:  # the last row that was exported goes away
            last = json.loads(exported[-1].lstrip("[,\n"))["id"]
            with get_session(channel) as session:
                session.execute(delete(Analytics).where(Analytics.id == last))
                session.commit()
        return site.reading()

    exported: list[str] = []
    for line in EXPORTS["json"].lines(reading, query):
        exported.append(line)  # noqa: PERF402 - `reading` looks at it meanwhile
    assert pieces > 2
    found = [row["id"] for row in json.loads("".join(exported))]
    assert len(found) == len(expected)
    assert set(found) == expected


def test_a_page_after_a_row_that_was_deleted_says_so(browser: Browser, channel: Engine) -> None:
    with get_session(channel) as session:
        key = session.scalars(select(Analytics.id).limit(1)).one()
        session.execute(delete(Analytics).where(Analytics.id == key))
        session.commit()
    for address in ("sort=youtube_video_id&after", "sort=-youtube_video_id&before"):
        answer = browser.get(f"/tables/analytics?{address}={key}")
        assert answer.status_code == 404
        assert f"row {key} has been deleted" in answer.text
    # An order by the primary key needs only the key.
    listed = browser.get(f"/tables/analytics?sort=id&after={key}")
    assert f'row?key={key + 1}"' in listed.text


@pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_an_export_holds_few_long_texts_at_once(channel: Engine, kind: str) -> None:
    rows, length = 300, 100_000
    with get_session(channel) as session:
        row = {"module": "m", "error_type": "E", "error_message": "x" * length}
        session.execute(insert(ErrorLog), [row] * rows)
        session.commit()
    lines = EXPORTS[kind].lines(
        site_on(channel).reading, ListQuery.parse(views()["error_logs"], {})
    )
    tracemalloc.start()
    exported = sum(map(len, lines))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert exported > rows * length
    assert peak < rows * length / 4


def test_an_export_that_fails_on_the_way_is_cut_off_without_a_word_of_the_reader(
    channel: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server logs the traceback of what ends the connection."""
    monkeypatch.setattr("shortsdb.console.export._PIECE", 3)
    monkeypatch.setattr("shortsdb.console.export._LONG_PIECE", 3)
    with get_session(channel) as session:
        row = {"module": "m", "error_type": "E", "error_message": "what the reader wants"}
        session.execute(insert(ErrorLog), [row] * 9)
        session.commit()
    app = create_app(channel)
    messages: list[Message] = []

    async def see(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message.get("body") and not any(earlier.get("body") for earlier in messages):
                with channel.begin() as connection:
                    connection.execute(text("ALTER TABLE error_logs RENAME TO away"))
            messages.append(message)
            await send(message)

        try:
            await app(scope, receive, sent)
        except ExportCutOffError as error:
            said.extend(traceback.format_exception(error))
            raise

    said: list[str] = []
    Browser(see).get("/export/error_logs.json?q=the+reader")
    assert sum(b"the reader" in message.get("body", b"") for message in messages) == 3
    assert messages[-1]["more_body"]
    assert "ExportCutOffError" in said[-1]
    assert "the reader" not in "".join(said) + caplog.text
    reason, end = (r.getMessage() for r in caplog.records if "/export/error_logs" in r.getMessage())
    assert "error_logs" in reason.partition("json: ")[2]
    assert end.endswith("ExportCutOffError")


@pytest.mark.parametrize("new_url", ["sqlite"], indirect=True)
def test_an_export_whose_file_goes_away_is_cut_off(
    channel: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("shortsdb.console.export._PIECE", 3)
    file, app = Path(channel.url.database or ""), create_app(channel)
    cut: list[ExportCutOffError] = []

    def move_away() -> None:
        if file.exists():
            file.rename(file.with_name("away.db"))

    async def see(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message.get("body"):
                move_away()
            await send(message)

        try:
            await app(scope, receive, sent)
        except ExportCutOffError as error:
            cut.append(error)
            raise

    Browser(see).get("/export/analytics.csv")
    assert len(cut) == 1
    assert "the file does not exist" in caplog.text
