"""Helpers log actions and failures, with one correlation id and no secret."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError

from shortsdb.database import (
    delete_override,
    drop_db,
    get_override,
    get_pending_videos,
    get_session,
    get_session_async,
    init_db,
    log_error,
    mark_video_processed,
    record_snapshot,
    resolve_error,
    seed_db,
    set_override,
    set_override_async,
)
from shortsdb.engine import create_async_engine, create_engine
from shortsdb.migration import MigrationRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

SECRET = "hunter2"  # noqa: S105 - looked for in logs

DONE: list[tuple[Callable[[Session], object], str]] = [
    (lambda s: get_pending_videos(s, "cats"), "16 videos of 'cats' are pending"),
    (lambda s: mark_video_processed(s, "cats-0-0", 2), "marked video 'cats-0-0' as 2"),
    (lambda s: log_error(s, "tts", "OSError", SECRET), "stored an error of 'tts': OSError"),
    (lambda s: resolve_error(s, 1), "marked error 1 as resolved"),
    (lambda s: set_override(s, "key", SECRET, "bot"), "setting 'key' was changed by 'bot'"),
    (lambda s: delete_override(s, "clips_per_run"), "setting 'clips_per_run' was put back"),
    (lambda s: delete_override(s, "none"), "setting 'none' is as deployed"),
    (lambda s: record_snapshot(s, "a", view_count=1), "stored 1 snapshots"),
]
FAILED: list[tuple[Callable[[Session], object], type[Exception], str]] = [
    (
        lambda s: resolve_error(s, 10**6),
        ValueError,
        "resolve_error failed: ValueError: there is no error 1000000",
    ),
    (lambda s: get_pending_videos(s, ""), ValueError, "get_pending_videos failed: ValueError"),
    (
        lambda s: mark_video_processed(s, "nope", 1),
        ValueError,
        "mark_video_processed failed: ValueError: there is no video 'nope'",
    ),
    (
        lambda s: log_error(s, "tts", "OSError", SECRET, pipeline_run_id=10**6),
        IntegrityError,
        "log_error failed: ",
    ),
    (lambda s: get_override(s, ""), ValueError, "get_override failed: ValueError: key is empty"),
    (lambda s: set_override(s, "", SECRET), ValueError, "set_override failed: ValueError"),
    (seed_db, ValueError, "seed_db failed: ValueError: "),
]


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    """Return a session on the small channel."""
    engine = create_engine(url)
    with get_session(engine) as session:
        seed_db(session)
        yield session
    engine.dispose()


def of_ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("shortsdb.")]


def test_helpers_log_their_actions(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for call, message in DONE:
        caplog.clear()
        call(session)
        (record,) = of_ours(caplog)
        assert record.getMessage() == message
        assert (record.levelname, record.name) == ("INFO", "shortsdb.database")
        assert len(vars(record)["correlation_id"]) == 32
        assert SECRET not in caplog.text


def test_a_setting_that_is_read_is_a_detail(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    set_override(session, "empty", "")
    caplog.set_level(logging.DEBUG, "shortsdb.database")
    for key, message in (("empty", "has an override"), ("none", "is as deployed")):
        caplog.clear()
        get_override(session, key)
        (record,) = of_ours(caplog)
        assert (record.getMessage(), record.levelname) == (f"setting {key!r} {message}", "DEBUG")


def test_helpers_log_and_raise_their_errors(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for call, error, message in FAILED:
        caplog.clear()
        with pytest.raises(error):
            call(session)
        (record,) = of_ours(caplog)
        assert record.getMessage().startswith(message)
        assert "\n" not in record.getMessage()
        assert (record.levelname, record.exc_info) == ("ERROR", None)
        assert SECRET not in caplog.text


def test_the_async_helpers_log_the_same(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        engine = create_async_engine(url)
        async with get_session_async(engine) as session:
            await set_override_async(session, "key", SECRET, updated_by="bot")
            with pytest.raises(ValueError, match="key is empty"):
                await set_override_async(session, "", SECRET)
        await engine.dispose()

    asyncio.run(main())
    done, failed = of_ours(caplog)
    assert done.getMessage() == "setting 'key' was changed by 'bot'"
    assert failed.getMessage() == "set_override failed: ValueError: key is empty"
    assert vars(done)["correlation_id"] != vars(failed)["correlation_id"]
    assert SECRET not in caplog.text


def test_init_db_and_drop_db_log_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    engine = init_db(tmp_path / "x.db")
    drop_db(engine, confirm=True, confirm_again=True)
    engine.dispose()
    assert (
        of_ours(caplog)[-1].getMessage() == f"dropped all tables of {tmp_path}/x.db and their rows"
    )
    caplog.clear()
    with pytest.raises(MigrationRefused):
        init_db(tmp_path)
    (record,) = of_ours(caplog)
    assert record.levelname == "ERROR"
    assert record.getMessage() == (
        f"init_db failed: MigrationRefused: {tmp_path} is a folder, not a database file"
    )


def test_no_password_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(MigrationRefused):
        init_db(f"postgresql+psycopg://u:{SECRET}@127.0.0.1:1/d")
    assert "init_db failed" in caplog.text
    assert SECRET not in caplog.text


APPLICATION = """
import logging, sys
logging.basicConfig(
    level="DEBUG", format="[%(correlation_id)s] %(name)s %(message)s", stream=sys.stdout
)
class Own(logging.Filter):
    def filter(self, record):
        record.__dict__.setdefault("correlation_id", "none")
        return True
import asyncio
asyncio_log = logging.getLogger("asyncio")
asyncio_log.addFilter(Own())
from shortsdb.database import get_session, init_db, init_db_async, set_override
async def main():
    await (await init_db_async(sys.argv[1] + "2")).dispose()
    await (await init_db_async(":memory:")).dispose()
for place in (sys.argv[1], ":memory:"):
    engine = init_db(place)
    with get_session(engine) as session:
        set_override(session, "k", "v")
    engine.dispose()
asyncio.run(main())
# An application may give the attribute by itself, and not only by a filter.
logging.getLogger("mine").info("hello", extra={"correlation_id": "own"})
"""


def test_a_format_with_the_correlation_id_works_for_all_records(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", APPLICATION, tmp_path / "x.db"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Logging error" not in done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    ids: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith("["):
            correlation_id, _, rest = line[1:].partition("] ")
            logger = rest.partition(" ")[0]
            # SQLAlchemy logs for a pool of ours, also outside of any operation.
            package = "pool" if logger.endswith("Pool") else logger.partition(".")[0]
            ids.setdefault(package, set()).add(correlation_id)
    assert len(ids["alembic"]) >= 4
    assert "None" not in ids["alembic"] | ids["shortsdb"]
    assert lines[-1] == "[own] mine hello"
