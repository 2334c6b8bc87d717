"""Lost rows and violated keys of a rebuilt table are detected before the commit."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import legacy_database
import pytest
from inspect_sqlite import file_hash, row_hashes, version
from project import HEAD, NEXT
from project_copy import Checkout

if TYPE_CHECKING:
    from pathlib import Path

REVISION = f'''"""Rebuild.

Revision ID: {NEXT}
Revises: {HEAD}
"""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    {{body}}


def downgrade() -> None:
    pass
'''

REBUILD_RUNS = """with op.batch_alter_table("pipeline_runs", recreate="always") as batch:
        batch.add_column(sa.Column("note", sa.Text()))"""

REBUILD_CLIPS = REBUILD_RUNS.replace("pipeline_runs", "clips")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a checkout whose database is a deployed one at head."""
    checkout = Checkout(tmp_path)
    path = legacy_database.make(tmp_path / "shortsdb.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        # Deployed code does not enforce keys: existing violations are accepted.
        connection.execute("UPDATE clips SET pipeline_run_id = 777 WHERE id = 1")
    assert checkout.run("alembic", "upgrade", "head").returncode == 0
    return checkout


def upgrade(checkout: Checkout, body: str) -> tuple[int, str]:
    revision = checkout.folder / "alembic" / "versions" / f"{NEXT}_rebuild.py"
    revision.write_text(REVISION.format(body=body), encoding="utf-8")
    done = checkout.run("alembic", "upgrade", "head")
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("body", [REBUILD_RUNS, REBUILD_CLIPS], ids=["parent", "child"])
def test_a_rebuild_keeps_every_row(checkout: Checkout, body: str) -> None:
    path = checkout.folder / "shortsdb.db"
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute("SELECT * FROM clips ORDER BY id").fetchall()
        runs = connection.execute("SELECT count(*) FROM pipeline_runs").fetchone()
    assert upgrade(checkout, body) == (0, "")
    with closing(sqlite3.connect(path)) as connection:
        after = connection.execute("SELECT * FROM clips ORDER BY id").fetchall()
        assert [row[: len(before[0])] for row in after] == before
        assert connection.execute("SELECT count(*) FROM pipeline_runs").fetchone() == runs
    assert version(path) == [NEXT]


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        (
            'op.execute("DELETE FROM clips WHERE id = 2")\n    ' + REBUILD_CLIPS,
            "would leave clips with other rows than before (17, it had 18)",
        ),
        (
            'op.execute("DELETE FROM pipeline_runs WHERE id = 2")',
            "would leave pipeline_runs with other rows than before",
        ),
        (
            'op.execute("UPDATE clips SET discovered_video_id = 10000000 WHERE id = 2")',
            "would leave clips with other rows than before (18, it had 18)",
        ),
        (
            (
                'op.execute("CREATE TABLE new_clips AS SELECT * FROM clips WHERE id > 2")\n'
                '    op.drop_table("clips")\n'
                '    op.rename_table("new_clips", "clips")'
            ),
            "would leave clips with other rows than before (16, it had 18)",
        ),
    ],
    ids=["deleted", "orphans", "dangling", "lost"],
)
def test_losses_are_detected_before_the_commit(checkout: Checkout, body: str, phrase: str) -> None:
    path = checkout.folder / "shortsdb.db"
    before, rows = file_hash(path), row_hashes(path)
    code, message = upgrade(checkout, body)
    assert code != 0
    assert phrase in message
    assert file_hash(path) == before
    assert row_hashes(path) == rows
