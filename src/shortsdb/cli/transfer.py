"""shortsdb copy."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from shortsdb.cli.options import json_option, not_empty, plausible_path, schema_option
from shortsdb.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

# Alembic and SQLAlchemy take half a second to import: functions import what they use.


@click.command()
@click.argument("source", callback=not_empty)
@click.argument("target", callback=not_empty)
@click.option(
    "--skip-invalid",
    metavar="FILE",
    callback=plausible_path,
    help="Leave out what the target cannot hold, and write those rows to FILE as JSON lines.",
)
@schema_option
@json_option
def copy(
    source: str, target: str, skip_invalid: Path | None, schema: str | None, *, as_json: bool
) -> None:
    """Copy a database from SQLite to PostgreSQL or back, and compare.

    SOURCE is a SQLite file of any revision, or without a version, and TARGET a PostgreSQL database
    whose tables are empty or not there yet; or SOURCE is a PostgreSQL database at head, and TARGET
    a SQLite file that does not exist. Both are URLs or paths; SHORTSDB_URL is not looked at.

    The source is only read. Rows that the target cannot hold are listed first, and stop the copy
    unless --skip-invalid is given. The target is written in one transaction: killed at any moment,
    it is as it was. At the end both sides are read and compared, table by table, by the number of
    rows and a SHA-256 of their content, which are printed.

    Stop the pipeline before: what it writes to the source meanwhile is not copied. A warning says
    how many rows came, if it can be told.

    \b
    Examples:
      shortsdb copy deployed.db postgresql:///shorts
      shortsdb copy deployed.db postgresql:///shorts --skip-invalid left-out.jsonl
      shortsdb copy postgresql:///shorts back.db
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from shortsdb.transfer import copy as copy_database

    with _exit_on_signals():
        verified = copy_database(source, target, skip_invalid, schema=schema)
    if as_json:
        click.echo(json.dumps([asdict(table) for table in verified]))
    else:
        for table in verified:
            say(f"{table.table:<18}{table.rows:>12,} rows  {table.sha256}")


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the work by an exception, so that temporary files are removed."""
    default = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in default:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in default:
            signal.signal(number, signal.SIG_DFL)


def _exit(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
