"""The pages of the console on a channel, on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from browser import Browser, Page
from project import ROOT
from sqlalchemy import func, select
from uploaded_run import uploaded_run

from shortsdb import queries
from shortsdb.console import create_app
from shortsdb.console.lists import PAGE_ROWS
from shortsdb.console.tables import label_of_class, views
from shortsdb.database import get_session
from shortsdb.models import (
    OWN_TABLES,
    Analytics,
    ConfigOverride,
    ErrorLog,
    PipelineRun,
    ReviewLog,
    Script,
    Short,
)
from shortsdb.models.types import utcnow

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_every_table_has_a_view_with_labels_as_people_write_them() -> None:
    assert views().keys() == OWN_TABLES
    assert views()["tts_audio"].plural == "TTS audio"
    assert views()["analytics"].plural == "Analytics"
    assert views()["pipeline_runs"].plural == "Pipeline runs"
    assert views()["scripts"].fields["llm_model_used"].label == "LLM model used"
    assert label_of_class("PipelineRun") == "Pipeline run"
    for view in views().values():
        assert next(iter(view.fields)) == view.key.key
        assert view.meaning
        assert all(field.meaning for field in view.fields.values())
        assert view.fields.keys() == {column.key for column in view.model.__table__.columns}


def test_classes_and_tables_of_an_application_change_no_view() -> None:
    script = """
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column
from shortsdb.models import Base, PipelineRun
class MyRun(PipelineRun):
    pass
class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    run: Mapped[int] = mapped_column(ForeignKey("pipeline_runs.id"))
from shortsdb.console.tables import views
for view in views().values():
    print(view.name, view.model.__name__, *view.children)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    shown = [
        " ".join(map(str, (view.name, view.model.__name__, *view.children)))
        for view in views().values()
    ]
    assert sorted(done.stdout.splitlines()) == sorted(shown)


def test_every_link_of_every_page_leads_to_a_page(browser: Browser) -> None:
    """From the first page along all links; each kind of page is looked at a few times."""
    pending, seen, kinds = ["/"], set[str](), dict[str, int]()
    while pending:
        path = pending.pop()
        kind = re.sub(r"=[^&]*", "=", path)
        if path in seen or kinds.get(kind, 0) >= 1:
            continue
        seen.add(path)
        kinds[kind] = kinds.get(kind, 0) + 1
        answer = browser.get(path)
        assert answer.status_code == 200, path
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        for link in Page(answer.text).links():
            if link.startswith("/"):
                pending.append(link)
            elif link.startswith("?"):
                pending.append(path.partition("?")[0] + link)
            else:
                assert link.startswith(("#", "https://", "http://")), link
    assert {f"/tables/{name}" for name in OWN_TABLES} <= seen
    assert {f"/export/{name}.csv?sort=-id" for name in OWN_TABLES - {"config_overrides"}} <= seen


def test_the_first_page_counts_what_the_lists_behind_it_show(
    browser: Browser, channel: Engine
) -> None:
    now = utcnow()
    with get_session(channel) as session:
        run = session.scalars(select(PipelineRun).where(PipelineRun.status == "failed")).first()
        assert run is not None
        run.error_message = "the disk was full last night"
        session.add_all(
            [
                ReviewLog(pipeline_run_id=run.id, sent_at=now - timedelta(hours=5)),
                ErrorLog(module="telegram", error_type="OSError", error_message="no space"),
            ]
        )
        session.commit()
        statuses = Counter(session.scalars(select(PipelineRun.status)))
        open_reviews = session.scalars(
            select(ReviewLog.id)
            .where(ReviewLog.auto_held == 0, ReviewLog.responded_at.is_(None))
            .order_by(ReviewLog.sent_at, ReviewLog.id)
        ).all()
    home = browser.get("/")
    for status, count in statuses.items():
        assert f'<span class="number">{count}</span> <span>{status}</span>' in home.text
        listed = browser.get(f"/tables/pipeline_runs?status={status}").text
        assert listed.count("<tr>") == count + 1
    assert "the disk was full last night" in home.text
    assert "5 hours</td>" in home.text
    shown = re.findall(r"/tables/review_logs/row\?key=(\d+)", home.text)
    assert list(map(int, shown)) == open_reviews
    assert f"Open reviews: {len(open_reviews)}" in home.text
    behind = browser.get("/tables/review_logs?auto_held=0&responded_at=null&sort=id").text
    assert behind.count("<tr>") == len(open_reviews) + 1
    assert '<span class="number">1</span> <span>telegram</span>' in home.text
    assert "no space" in browser.get("/tables/error_logs?resolved=0&module=telegram").text


def test_growth_is_counted_by_niche_and_week(browser: Browser, channel: Engine) -> None:
    now = utcnow()
    with get_session(channel) as session:
        for niche, gained in (("snails", 100), ("foxes", 7_000)):
            run = PipelineRun(
                niche=niche,
                cycle_start=now,
                cycle_end=now,
                status="uploaded",
                completed_at=now - timedelta(days=10),
                youtube_video_id=f"of-{niche}",
            )
            run.shorts.append(
                Short(status="uploaded", uploaded_at=now, youtube_video_id=f"s-{niche}")
            )
            session.add(run)
            session.add_all(
                Analytics(
                    youtube_video_id=f"of-{niche}",
                    measured_at=now - timedelta(days=days),
                    view_count=views_,
                )
                for days, views_ in ((9, 50), (6, None), (1, 50 + gained))
            )
        session.commit()
    home = browser.get("/").text
    assert "<strong>foxes</strong> grew fastest: 7,000 views" in home
    views_row, uploads_row = growth_of("foxes", home)
    assert views_row == ["50", "7,000"]  # the weeks before the first upload are left out
    assert uploads_row == ["1", "1"]


def test_views_from_before_the_first_measurement_are_no_growth(
    browser: Browser, channel: Engine
) -> None:
    """The first measurement of an old upload gains nothing, that of a new one gains all."""
    now = utcnow()
    with get_session(channel) as session:
        run = uploaded_run("old", "old", now, days=400)
        run.shorts.append(
            Short(
                status="uploaded", uploaded_at=now - timedelta(days=3), youtube_video_id="new short"
            )
        )
        session.add(run)
        session.add_all(
            Analytics(
                youtube_video_id=video,
                measured_at=now - timedelta(days=days),
                view_count=count,
            )
            for video, days, count in (
                ("old", 4, 9_000_000),
                ("old", 1, 9_000_100),
                ("new short", 2, 5_000),
            )
        )
        session.commit()
        gained = session.scalar(queries.view_growth("old", now - timedelta(days=7), now))
    assert gained == 100
    assert growth_of("old", browser.get("/").text)[0][-1] == "5,100"


def test_growth_shows_the_weeks_before_the_first_upload_in_them(
    browser: Browser, channel: Engine
) -> None:
    now = utcnow()
    with get_session(channel) as session:
        run = uploaded_run("old", "old", now, days=400)
        session.add(run)
        session.add_all(
            Analytics(
                youtube_video_id="old", measured_at=now - timedelta(days=days), view_count=count
            )
            for days, count in ((50, 10), (38, 30), (1, 60))
        )
        session.commit()
    views_row, uploads_row = growth_of("old", browser.get("/").text)
    assert views_row == ["20", "0", "0", "0", "0", "30"]
    assert set(uploads_row) == {"0"}


def test_the_last_failed_runs_are_those_that_ended_last(browser: Browser, channel: Engine) -> None:
    now = utcnow()
    with get_session(channel) as session:
        for hours in (1, *range(29, 19, -1)):  # the oldest row is a run that was retried
            session.add(
                PipelineRun(
                    niche="retried",
                    cycle_start=now,
                    cycle_end=now,
                    status="failed",
                    started_at=now - timedelta(hours=600),
                    completed_at=now - timedelta(hours=hours),
                    error_message=f"failed {hours} h ago",
                )
            )
            session.flush()
        session.commit()
    assert re.findall(r"failed (\d+) h ago", browser.get("/").text) == ["1", "20", "21", "22", "23"]


def test_a_failed_run_without_an_end_is_shown_without_one(
    browser: Browser, channel: Engine
) -> None:
    with get_session(channel) as session:
        run = PipelineRun(
            niche="no end",
            cycle_start=utcnow(),
            cycle_end=utcnow(),
            started_at=utcnow(),
            status="failed",
        )
        session.add(run)
        session.commit()
    (row,) = re.findall(r"<td>no end</td>(.*?)</tr>", browser.get("/").text)
    assert '<td class="time">–</td>' in row.replace("\n", "")


def growth_of(niche: str, home: str) -> list[list[str]]:
    """Return the numbers of a niche: its views and its uploads, a week each."""
    return [
        re.findall(r"<td class=\"number\">([\d,-]+)</td>", row)
        for row in re.findall(rf">{niche}</a></th>(.*?)</tr>", home)
    ]


def test_the_page_of_a_run_has_everything_under_it(browser: Browser, channel: Engine) -> None:
    with get_session(channel) as session:
        run = session.scalars(
            select(PipelineRun).where(PipelineRun.status == "uploaded").limit(1)
        ).one()
        script = Script(
            full_script={"opening": "First words", "lines": ["猫が歌う", "Last words"]},
            total_char_count=4,
            estimated_duration_seconds=1.5,
            llm_model_used="m",
            generated_at=utcnow(),
        )
        run.scripts.append(script)
        run.error_logs.append(
            ErrorLog(
                module="tts", error_type="E", error_message="broken voice", stack_trace="x" * 999
            )
        )
        for rank, clip in enumerate(reversed(run.clips), 1):
            clip.rank_position = rank
        session.commit()
        key = run.id
        ordered = sorted((clip.rank_position, clip.id) for clip in run.clips)
        children = {
            (row.__tablename__, row.id)
            for rows in (
                run.clips,
                run.scripts,
                run.tts_audio,
                run.shorts,
                run.review_logs,
                run.error_logs,
            )
            for row in rows
        }
    page = browser.get(f"/tables/pipeline_runs/row?key={key}").text
    for table, child in children:
        assert f"/tables/{table}/row?key={child}" in page
    assert "x" * 999 in page
    words = [page.index(text) for text in ("First words", "猫が歌う", "Last words")]
    assert words == sorted(words)
    timeline = page[page.index('<ol class="timeline">') : page.index("</ol>")]
    moments = re.findall(r'datetime="([^"]+)"', timeline)
    assert moments == sorted(moments)
    assert "error in tts: E" in timeline
    assert "review requested" in timeline
    clips = page[page.index('id="rows-clips"') :]
    clips = clips[: clips.index("</table>")]
    ranks = re.findall(r'<td class="number">(\d+)</td>', clips)
    assert list(map(int, ranks)) == sorted(rank for rank, _ in ordered)
    assert re.findall(r"clips/row\?key=(\d+)", clips) == [str(clip) for _, clip in ordered]


def test_the_page_of_a_run_has_the_newest_of_many_errors(browser: Browser, channel: Engine) -> None:
    with get_session(channel) as session:
        run = session.scalars(select(PipelineRun).limit(1)).one()
        run.error_logs += [
            ErrorLog(module="m", error_type="E", error_message="x" * 999, stack_trace="y" * 999)
            for number in range(2 * PAGE_ROWS)
        ]
        session.commit()
        key = run.id
        newest = sorted((error.id for error in run.error_logs), reverse=True)[:PAGE_ROWS]
    page = browser.get(f"/tables/pipeline_runs/row?key={key}").text
    assert re.findall(r'<h2 id="error-(\d+)"', page) == [str(error) for error in sorted(newest)]
    timeline = page[page.index('<ol class="timeline">') : page.index("</ol>")]
    assert timeline.count("error in m: E") == PAGE_ROWS
    assert f"Error logs: only the newest {PAGE_ROWS} are here" in page
    assert f"/tables/error_logs?pipeline_run_id={key}" in Page(page).links()


def test_a_script_that_is_not_json_is_shown_as_it_is(browser: Browser, channel: Engine) -> None:
    with get_session(channel) as session:
        script = session.scalars(select(Script).limit(1)).one()
        key = script.id
        script.full_script_json = "[" * 100_000
        session.commit()
    assert "[[[[" in browser.get(f"/tables/scripts/row?key={key}").text


def test_rows_that_do_not_exist_and_values_that_cannot_be_are_refused(browser: Browser) -> None:
    for path, status in (
        ("/tables/nonsense", 404),
        ("/tables/alembic_version", 404),
        ("/nonsense", 404),
        ("/tables/clips/row?key=999999", 404),
        ("/tables/clips/row?key=one", 400),
        ("/tables/clips/row", 400),
        ("/tables/clips?sort=clip_file_path", 400),
        ("/tables/clips?pipeline_run_id=99999999999999999999", 400),
        ("/tables/clips?after=x", 400),
        ("/tables/clips?q=%00", 400),
        (f"/tables/clips?q={'x' * 200}", 200),
        (f"/tables/clips?q={'x' * 201}", 400),
        (f"/export/clips.csv?q={'x' * 201}", 400),
        ("/tables/config_overrides/row?key=%00", 400),
        ("/tables/clips?q=%ff%fe", 200),
        ("/tables/clips?q='; DROP TABLE clips; --", 200),
        ("/tables/discovered_videos?processed=x", 400),
        ("/export/clips.exe", 404),
        ("/export/nonsense.csv", 404),
        ("/changes/set-override", 404),
        ("/static/../application.py", 404),
        ("/static/%2e%2e/application.py", 404),
    ):
        assert browser.get(path).status_code == status, path


def test_keys_of_any_text_lead_to_their_row(browser: Browser, channel: Engine) -> None:
    keys = ["a/b", "..", "a b&c=d?e#f", "'\"<>", "鍵", "%2e", "x" * 300]
    with get_session(channel) as session:
        session.add_all(ConfigOverride(key=key, value=f"value of {key[:9]}") for key in keys)
        session.commit()
    listed = browser.get("/tables/config_overrides").text
    rows = [link for link in Page(listed).links() if "/config_overrides/row?" in link]
    with get_session(channel) as session:
        assert len(rows) == session.scalar(select(func.count()).select_from(ConfigOverride))
    for row in rows:
        assert browser.get(row).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_without_allow_changes_no_page_takes_a_change(browser: Browser, method: str) -> None:
    for path in (
        "/",
        "/tables/config_overrides",
        "/tables/error_logs/row",
        "/changes/set-override",
    ):
        assert browser.request(method, path).status_code in {404, 405}
    for name in OWN_TABLES:
        listed = browser.get(f"/tables/{name}").text
        assert 'method="post"' not in listed.lower()


def test_a_page_opens_no_file_that_a_row_names(channel: Engine) -> None:
    with get_session(channel) as session:
        run = session.scalars(select(PipelineRun).limit(1)).one()
        run.video_file_path = "/etc/hostname"
        key = run.id
        session.commit()
    opened: list[str] = []

    def see(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open":
            opened.append(str(arguments[0]))

    watching = True
    sys.addaudithook(see)
    page = Browser(create_app(channel)).get(f"/tables/pipeline_runs/row?key={key}")
    (ROOT / "README.md").open().close()
    watching = False
    assert "/etc/hostname" in page.text
    assert "/etc/hostname" not in opened
    assert str(ROOT / "README.md") in opened
