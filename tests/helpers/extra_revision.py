"""Run the released revisions and further ones written by a test, in this process."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

from project import HEAD, ROOT

from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from pathlib import Path

    from alembic.config import Config
    from sqlalchemy import Connection

_REVISION = '''"""A revision of a test.

Why: a test wants it.
Question: none.
Hazard: none.

Revision ID: {revision}
Revises: {below}
"""

import sqlite3

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{below}"
branch_labels = None
depends_on = None
{attributes}


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
{downgrade}
'''


def number(place: int = 1) -> str:
    """Return the id of the first, second … revision after the released ones."""
    return f"{int(HEAD) + place:04}"


def add(
    folder: Path, upgrade: str, *, attributes: str = "", downgrade: str = "pass", place: int = 1
) -> None:
    """Write a revision to the folder.

    Args:
        folder: The folder of the revisions.
        upgrade: The body of its upgrade function.
        attributes: Code above that function, such as a declaration.
        downgrade: The body of its downgrade function.
        place: Its place after the released revisions.
    """
    text = _REVISION.format(
        revision=number(place),
        below=number(place - 1),
        attributes=attributes,
        upgrade=indent(upgrade, "    "),
        downgrade=indent(downgrade, "    "),
    )
    (folder / f"{number(place)}_of_a_test.py").write_text(text, encoding="utf-8")


def config(
    folder: Path,
    database: Path | str | None,
    connection: Connection | None = None,
    backup: str | None = None,
) -> Config:
    """Return a configuration with the released revisions and those in the folder."""
    made = alembic_config(None if database is None else str(database), backup=backup)
    made.set_main_option("version_locations", f"{ROOT / 'alembic' / 'versions'}:{folder}")
    if connection is not None:
        made.attributes["connection"] = connection
    return made
