"""A server that is gone while a revision runs: what is then known, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import extra_revision
import pytest
from alembic import command

from shortsdb.migration import MigrationRefused
from shortsdb.migration.revision_run import MigrationHalfApplied

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database, Server

COMMIT = "op.get_bind().connection.dbapi_connection.cursor().execute('COMMIT')\n"
LOOK = "op.execute('SELECT 1')"
# To a client, a database that is dropped is as a server that is gone and stays away.
LEAVE = """
def leave():
    import psycopg
    with psycopg.connect({server!r}, autocommit=True) as other:
        other.execute("DROP DATABASE {name} WITH (FORCE)")
"""


@pytest.fixture
def database(postgres: Server, head_database: Database) -> Database:
    """Return a database at head, which the test drops."""
    return postgres.create_database(head_database)


def failure(folder: Path, database: Database, body: str, attributes: str = "") -> MigrationRefused:
    """Return the error of an upgrade, during which the database goes."""
    attributes += LEAVE.format(server=database.server.url("postgres"), name=database.name)
    extra_revision.add(folder, body, attributes=attributes)
    with pytest.raises(MigrationRefused) as raised:
        command.upgrade(extra_revision.config(folder, database.url), "head")
    return raised.value


def test_in_a_revision_that_runs_alone(database: Database, tmp_path: Path) -> None:
    found = failure(tmp_path, database, f"leave()\n{LOOK}", "transactional = False")
    assert isinstance(found, MigrationHalfApplied)
    assert (
        "the database is at what cannot be read now, and an index may be invalid (\\d of the table "
        "says so): drop it. Run the same again"
    ) in str(found)


def test_in_the_one_transaction(database: Database, tmp_path: Path) -> None:
    found = failure(tmp_path, database, f"leave()\n{LOOK}")
    assert not isinstance(found, MigrationHalfApplied)
    assert "terminating connection" in str(found)
    assert "nothing was changed" in str(found)


def test_after_the_one_transaction_has_ended(database: Database, tmp_path: Path) -> None:
    body = f"{COMMIT}try:\n    {LOOK}\nfinally:\n    leave()"
    found = failure(tmp_path, database, body)
    assert isinstance(found, MigrationHalfApplied)
    assert f"revision {extra_revision.number()} has ended the transaction" in str(found)
    assert "is at an unknown revision, because it cannot be read now, and may" in str(found)
