"""Databases that are empty, old, unversioned, away or locked: a page says so, and no traceback."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alembic import command
from browser import Browser
from project import HEAD
from sqlalchemy import text

from shortsdb.console import create_app, site
from shortsdb.console.security import Sessions
from shortsdb.database import DiscoveredVideo, get_session
from shortsdb.engine import create_engine
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgresql_server import Database
    from sqlalchemy import Engine

PATHS = ["/", "/tables/error_logs", "/tables/error_logs/row?key=1", "/export/error_logs.csv"]
UPGRADE = "Run <code>shortsdb upgrade</code>"


def browser_on(engine: Engine) -> Browser:
    return Browser(create_app(engine))


def quick(path: Path) -> Engine:
    """Return an engine as `shortsdb console` makes it, which waits less for a lock."""
    engine = create_engine(path, pragmas={"journal_mode": None, "busy_timeout": 50})
    _made.append(engine)
    return engine


_made: list[Engine] = []


@pytest.fixture(autouse=True)
def _connections_are_closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().dispose()


def test_a_new_database_without_rows_has_a_page(url: str) -> None:
    engine = create_engine(url)
    browser = browser_on(engine)
    page = browser.get("/").text
    for sentence in ("No run has failed", "No review is open", "Every error is resolved"):
        assert sentence in page
    assert "Nothing has been uploaded yet" in page
    assert f"{HEAD}, the newest is {HEAD}" in page
    assert "No rows yet" in browser.get("/tables/clips").text
    engine.dispose()


def assert_old(browser: Browser, said: str) -> None:
    home = browser.get("/")
    assert home.status_code == 200
    assert said in home.text
    assert UPGRADE in home.text
    for path in PATHS[1:]:
        answer = browser.get(path)
        assert answer.status_code == 503
        assert UPGRADE in answer.text
        assert "revisions are pending" in answer.text
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("revision", ["0001", "0004"])
def test_an_older_revision_has_a_page(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "old.db"
    command.upgrade(alembic_config(str(path)), revision)
    browser = browser_on(quick(path))
    assert_old(browser, "at an older revision")
    assert browser.get("/tables/clips").status_code == 200  # that table is there already


def test_a_deployed_file_without_a_version_has_a_page(deployed_file: Path) -> None:
    before = deployed_file.read_bytes()
    assert_old(browser_on(quick(deployed_file)), "at an older revision")
    assert deployed_file.read_bytes() == before  # not even the journal mode


def test_a_database_without_tables_has_a_page(tmp_path: Path, target: Database) -> None:
    (tmp_path / "empty.db").touch()
    for engine in (quick(tmp_path / "empty.db"), create_engine(target.url)):
        assert_old(browser_on(engine), "The database is empty")
        engine.dispose()


def test_a_newer_revision_has_a_page(tmp_path: Path, head_file: Path) -> None:
    path = tmp_path / "newer.db"
    path.write_bytes(head_file.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999<b>'")
    page = browser_on(quick(path)).get("/")
    assert page.status_code == 200
    assert "which this release does not know" in page.text
    assert "0999&lt;b&gt;" in page.text


def test_nothing_is_changed_at_a_revision_that_this_release_does_not_know(
    tmp_path: Path, head_file: Path
) -> None:
    path = tmp_path / "newer.db"
    path.write_bytes(head_file.read_bytes())
    browser = Browser(create_app(quick(path), allow_changes=True))
    asked = browser.send("/changes/set-override", key="k", value="v")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    answer = browser.submit("/changes/set-override", asked, confirmed="yes")
    assert answer.status_code == 503
    assert "which this release does not know" in answer.text
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM config_overrides").fetchone() == (0,)


def test_a_page_does_not_read_the_whole_file(tmp_path: Path, head_file: Path) -> None:
    """That takes minutes for a large one; only a thorough check finds broken foreign keys."""
    path = tmp_path / "x.db"
    path.write_bytes(head_file.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO shorts (pipeline_run_id) VALUES (77)")
    assert "<dt>Problems</dt><dd>none</dd>" in browser_on(quick(path)).get("/").text


def assert_unavailable(browser: Browser, *said: str) -> None:
    for path in PATHS:
        answer = browser.get(path)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        for words in said:
            assert words in answer.text, path
        assert "Traceback" not in answer.text


def test_a_file_that_goes_away_and_comes_back(tmp_path: Path, head_file: Path) -> None:
    path, away = tmp_path / "head.db", tmp_path / "away.db"
    browser = browser_on(quick(path))
    assert_unavailable(browser, "the file does not exist")
    path.write_bytes(head_file.read_bytes())
    assert browser.get("/").status_code == 200
    path.rename(away)
    assert_unavailable(browser, "the file does not exist")
    with pytest.raises(site.MissingFileError):
        site.Site(quick(path), Sessions(None), allow_changes=True).writing()
    assert not path.exists()
    away.rename(path)
    for page in PATHS[:2]:
        assert browser.get(page).status_code == 200


def test_a_file_that_is_no_database_has_a_page(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("this is not a database\n" * 100)
    assert_unavailable(browser_on(quick(path)), "file is not a database")


def test_a_locked_file_has_a_page_and_works_again(tmp_path: Path, head_file: Path) -> None:
    path = tmp_path / "locked.db"
    path.write_bytes(head_file.read_bytes())
    engine = quick(path)
    browser = browser_on(engine)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        assert browser.get("/tables/clips").status_code == 200
        other.execute("BEGIN EXCLUSIVE")
        assert_unavailable(browser, "locked")
        other.rollback()
    for page in PATHS[:2]:
        assert browser.get(page).status_code == 200
    engine.dispose()


def test_a_server_that_goes_away_and_comes_back(target: Database) -> None:
    command.upgrade(alembic_config(target.url), "head")
    engine = create_engine(target.url)
    browser = browser_on(engine)
    assert browser.get("/").status_code == 200
    target.server.execute(f"ALTER DATABASE {target.name} ALLOW_CONNECTIONS off")
    target.server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{target.name}'"
    )
    assert_unavailable(browser, "not currently accepting connections")
    target.server.execute(f"ALTER DATABASE {target.name} ALLOW_CONNECTIONS on")
    for page in PATHS[:2]:
        assert browser.get(page).status_code == 200
    engine.dispose()


def test_a_table_that_another_session_has_locked_gives_a_page(target: Database) -> None:
    """As a migration does on PostgreSQL; the statement ends by itself."""
    command.upgrade(alembic_config(target.url), "head")
    engine = create_engine(target.url)
    with engine.connect() as connection, connection.begin():
        connection.execute(text("LOCK TABLE error_logs"))
        answer = browser_on(engine).get("/tables/error_logs")
        assert answer.status_code == 503
        assert "canceling statement due to lock timeout" in answer.text
    engine.dispose()


def test_a_search_that_takes_too_long_ends(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without an index a search reads the whole table; the limit is 0 s here."""
    engine = create_engine(url)
    with get_session(engine) as session:
        session.add_all(
            DiscoveredVideo(
                video_id=f"v{number}",
                title="x" * 1_000,
                channel_name="c",
                channel_id="c",
                url="u",
                niche="n",
            )
            for number in range(500)
        )
        session.commit()
    browser = browser_on(engine)
    search = "/tables/discovered_videos?q=nothing-like-it"
    assert browser.get(search).status_code == 200
    with monkeypatch.context() as patch:
        patch.setattr(site, "_READING_SECONDS", 0.001)
        patch.setattr(site, "_STEPS", 100)
        assert browser.get(search).status_code == 503
    assert "interrupted" in caplog.text or "statement timeout" in caplog.text
    assert browser.get(search).status_code == 200
    engine.dispose()


def test_the_time_of_a_page_does_not_limit_what_else_uses_its_connection(
    tmp_path: Path, head_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(head_file.read_bytes())
    engine = create_engine(path, pool_size=1)
    monkeypatch.setattr(site, "_READING_SECONDS", 0)
    with site.Site(engine, Sessions(None), allow_changes=False).reading():
        pass
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)"
    with get_session(engine) as session:
        assert session.scalar(text(f"{many} SELECT count(*) FROM n")) == 100_000
    engine.dispose()


def test_an_error_of_the_console_itself_has_a_page_and_a_request_in_the_log(
    head_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret of a row")

    monkeypatch.setattr("shortsdb.console.pages.read_page", broken)
    answer = browser_on(quick(head_file)).get("/tables/clips")
    assert answer.status_code == 500
    assert "This should not happen" in answer.text
    assert "secret of a row" not in answer.text
    (request,) = re.findall(r"request (\w+)", answer.text)
    (record,) = (r for r in caplog.records if "/tables/clips: RuntimeError" in r.getMessage())
    assert record.__dict__["correlation_id"] == request
    assert "content-security-policy" in answer.headers
