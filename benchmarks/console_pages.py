"""The console's pages over many snapshots: the first page, lists, searches, filters and orders."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import httpx
from measure import PROGRAMS, Scale, Table, in_turn, progress, seconds

from shortsdb.console.tables import views
from shortsdb.migration.baselines import BASELINES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TITLE = "The console"
_REQUESTS = 10
_TIMEOUT = 600.0  # seconds
_SNAPSHOTS_PER_VIDEO = 500
_MIDDLE = "SELECT id FROM analytics ORDER BY id LIMIT 1 OFFSET (SELECT max(id) / 2 FROM analytics)"

NOTES = """\
Each page was asked for {requests} times, after a first time that is not counted. The time is that
of the whole answer, over a connection that is kept. Every run has an uploaded compilation or has
failed, and a Short; each upload has {snapshots} snapshots. "From the middle" is the page after the
middle row. The first page adds up the growth of 5,000 uploads in eight weeks. Lists have no page
numbers and no total, which would take a full count."""

# For each run a row of each table, six hours after the one before it.
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
_TIME = "strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+d hours', {hours}))"
_ROWS = {
    "pipeline_runs": """
        id: i, niche: 'niche' || i % 8, cycle_start: {then}, cycle_end: {then},
        status: iif(i % 20, 'uploaded', 'failed'), completed_at: {then},
        youtube_video_id: 'run' || i, retry_count: 0""",
    "discovered_videos": """
        id: i, video_id: 'found' || i, title: 'title ' || i, channel_name: 'channel',
        channel_id: 'UC', url: 'https', niche: 'niche' || i % 8, discovered_at: {then},
        processed: 1, content_id_risk: 'low'""",
    "clips": """
        id: i, pipeline_run_id: i, discovered_video_id: i, rank_position: 1,
        start_time_seconds: 1.5, end_time_seconds: 9.25, clip_duration_seconds: 7.75,
        content_id_risk: 'low'""",
    "scripts": """
        id: i, pipeline_run_id: i, opening_text: 'opening', closing_text: 'closing',
        full_script_json: '["line"]', total_char_count: 100, estimated_duration_seconds: 60.0,
        llm_model_used: 'llm', generated_at: {then}""",
    "tts_audio": "id: i, pipeline_run_id: i, engine_used: 'engine', generated_at: {then}",
    "shorts": """
        id: i, pipeline_run_id: i, clip_id: i, title: 'Short ' || i,
        youtube_video_id: 'short' || i, status: 'uploaded', uploaded_at: {then}""",
    "review_logs": """
        id: i, pipeline_run_id: i, sent_at: {then}, responded_at: iif(i % 50, {then}, NULL)""",
    "error_logs": """
        id: i, pipeline_run_id: i, module: 'module' || i % 6, error_type: 'OSError',
        error_message: 'message ' || i, occurred_at: {then}, resolved: i % 20 > 0""",
    "config_overrides": "key: 'setting' || i, value: i",
}


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure the largest number of snapshots, below an empty folder."""
    rows = scale.snapshots[-1]
    path = folder / "console.db"
    progress(f"{TITLE}: adding {rows:,} snapshots")
    make(path, rows)
    with closing(sqlite3.connect(path)) as connection:
        (middle,) = connection.execute(_MIDDLE).fetchone()
    progress(f"{TITLE}: asking")
    requests = _REQUESTS if scale.rounds > 1 else 1
    with served(path) as client:
        taken = in_turn(
            requests + 1,
            {
                name: partial(seconds, partial(ask, client, address))
                for name, address in addresses(middle).items()
            },
        )
    cells = [
        [f"shortsdb: {name}", *(f"{of(found[1:]) * 1e3:,.0f}" for of in (median, max))]
        for name, found in taken.items()
    ]
    size = path.stat().st_size / 2**20
    title = f"Pages over {rows:,} snapshots ({size:,.0f} MiB); ms"
    notes = NOTES.format(requests=requests, snapshots=_SNAPSHOTS_PER_VIDEO)
    return [Table(title, ["", "median", "most"], cells, [notes])]


def make(path: Path, snapshots: int) -> None:
    """Make a file at head with so many snapshots, without any durability."""
    runs = max(snapshots // _SNAPSHOTS_PER_VIDEO // 2, 1)
    then = _TIME.format(hours=f"6 * (i - {runs})")
    measured = _TIME.format(hours=f"6 * (i / 2 % {runs} - {runs}) + 6 * (i / {2 * runs})")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(BASELINES[max(BASELINES)])
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        for table, row in _ROWS.items():
            _fill(connection, table, row.format(then=then), runs)
        video = f"iif(i % 2, 'run', 'short') || (1 + i / 2 % {runs})"
        row = f"id: i, youtube_video_id: {video}, measured_at: {measured}, view_count: i"
        _fill(connection, "analytics", row, snapshots)


def _fill(connection: sqlite3.Connection, table: str, row: str, count: int) -> None:
    """Insert so many rows; `row` has the columns and their values, by the number `i`."""
    names = re.findall(r"(\w+): ", row)
    values = re.sub(r"\w+: ", "", row)
    numbers = _NUMBERS.format(count=count)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) {numbers} SELECT {values} FROM n"  # noqa: S608 - ours
    )


def addresses(middle: int) -> dict[str, str]:
    """Return the pages that are measured, by what they are."""
    found = {"the first page": "/", "the page of a run": "/tables/pipeline_runs/row?key=1"}
    for view in views().values():
        found[f"{view.plural}"] = f"/tables/{view.name}"
    analytics = views()["analytics"]
    for sort in analytics.sorts:
        for direction, name in (("", "ascending"), ("-", "descending")):
            address = f"/tables/analytics?sort={direction}{sort}"
            label = analytics.fields[sort].label
            found[f"Analytics by {label}, {name}"] = address
            found[f"Analytics by {label}, {name}, from the middle"] = f"{address}&after={middle}"
    return found | {
        "Analytics of a video": "/tables/analytics?youtube_video_id=short1",
        "Analytics of a video by time": (
            "/tables/analytics?youtube_video_id=short1&sort=youtube_video_id"
        ),
        "Analytics of a video that there is not": "/tables/analytics?youtube_video_id=none",
        "Analytics, a search": "/tables/analytics?q=short1",
        "Analytics, a search for what there is not": "/tables/analytics?q=nothing",
        "a snapshot": f"/tables/analytics/row?key={middle}",
        "Pipeline runs, failed ones": "/tables/pipeline_runs?status=failed",
        "Discovered videos, a search": "/tables/discovered_videos?q=title+7",
        "Error logs, unresolved ones of a module": "/tables/error_logs?resolved=0&module=module2",
        "Review logs, open ones": "/tables/review_logs?auto_held=0&responded_at=null&sort=id",
    }


@contextmanager
def served(path: Path) -> Iterator[httpx.Client]:
    """Yield a client of a console on a file."""
    command = [str(PROGRAMS / "shortsdb"), "console", "--url", str(path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as console:  # noqa: S603 - our program
        assert console.stdout is not None  # noqa: S101 - it is a pipe
        address = console.stdout.readline().rpartition("http://")[2].partition(" ")[0]
        try:
            with httpx.Client(base_url=f"http://{address}", timeout=_TIMEOUT) as client:
                yield client
        finally:
            console.terminate()


def ask(client: httpx.Client, address: str) -> None:
    """Ask for a page.

    Raises:
        httpx.HTTPStatusError: The console refused it.
    """
    client.get(address).raise_for_status()
