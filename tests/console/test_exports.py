"""Exports and pages of a list whose rows are deleted meanwhile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, select

from shortsdb.console.export import EXPORTS
from shortsdb.console.lists import ListQuery
from shortsdb.console.security import Sessions
from shortsdb.console.site import Site
from shortsdb.console.tables import views
from shortsdb.database import get_session
from shortsdb.models import Analytics

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from browser import Browser
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session


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
