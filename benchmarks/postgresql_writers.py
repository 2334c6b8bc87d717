"""Concurrent writers on PostgreSQL, direct and behind PgBouncer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from alembic.command import upgrade
from measure import Scale, Table, in_turn, progress
from peers import COUNTER, PEERS, PLAIN
from pooler import Pooler
from postgresql_server import Server
from writers import Outcome, connected, count, table

from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database

TITLE = "Writers on PostgreSQL"
POOL_SIZE = 4

_COUNTED = "SELECT sum(value::int) FROM config_overrides"

HOW = f"""\
As in the part before, on a server of its own on a socket, without fsync, so that the disk is not
measured. PgBouncer is in transaction mode, with {POOL_SIZE} connections to the server for all
processes. Refused are rows that somebody else has changed between the read and the write, which can
be done again; nobody does here. SQLAlchemy's default engine is not behind PgBouncer, because
psycopg prepares statements by default, which PgBouncer gives to the wrong connection."""
WHY = """\
Writers of shortsdb take turns: the lock is one of the schema, as it is one of the file on SQLite,
and it is asked for by a statement of its own. Plain sessions take it for the write alone, and
compare the row with what was read by another statement, with FOR UPDATE."""


def run(scale: Scale, folder: Path) -> list[Table]:
    """Measure increments of a shared row and of rows of their own."""
    del folder
    rows = {
        "the same row": [COUNTER] * scale.processes,
        "a row of their own": [f"own {number}" for number in range(scale.processes)],
    }
    tables: list[Table] = []
    with Server() as server, Pooler(server, POOL_SIZE) as pooler:
        database = _database(server, {COUNTER, *rows["a row of their own"]})
        ways = {"direct": database.url, "behind PgBouncer": pooler.url(database)}
        everybody = [(name, way) for name in ("shortsdb", PLAIN) for way in ways]
        everybody.append(("sqlalchemy", "direct"))
        for which, keys in rows.items():
            progress(f"{TITLE}: {which}")
            works = {
                f"{PEERS[name].name}, {way}": partial(
                    _count, name, ways[way], database, keys, scale
                )
                for name, way in everybody
            }
            title = f"{scale.processes} processes on PostgreSQL, {which}"
            notes = [] if tables else [HOW, WHY]
            tables.append(table(title, in_turn(scale.long_rounds, works), notes))
    return tables


def _database(server: Server, keys: set[str]) -> Database:
    database = server.create_database()
    upgrade(alembic_config(database.url), "head")
    rows = ", ".join(f"('{key}', '0')" for key in sorted(keys))
    database.psql(f"INSERT INTO config_overrides (key, value) VALUES {rows}")  # noqa: S608 - ours
    return database


def _count(name: str, url: str, database: Database, keys: list[str], scale: Scale) -> Outcome:
    with connected(name, url, len(keys)) as workers:
        return count(workers, keys, lambda: int(database.psql(_COUNTED)), scale.increments)
