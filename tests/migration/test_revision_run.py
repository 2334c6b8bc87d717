"""Which revision is at fault, what is said of it, and what is raised as it is."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import extra_revision
import pytest
from alembic import command
from inspect_sqlite import file_hash, schema, version
from project import HEAD
from sqlalchemy import create_engine

from shortsdb.migration import MigrationRefused
from shortsdb.migration.revision_run import MigrationHalfApplied

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database

RAW = "op.get_bind().connection.dbapi_connection"
FAULTS = {
    "denied": ("op.execute('COMMIT')", "revision {} runs COMMIT, and no revision may end"),
    "driver": (
        f"{RAW}.cursor().execute('SELECT absent')",
        "no such column: absent; nothing was changed. Revision {} is at fault, report it",
    ),
}


class WithoutAuthorizer(sqlite3.Connection):
    """A connection of a driver that has none."""

    set_authorizer = None  # type: ignore[assignment]


@pytest.fixture
def path(head_file: Path, tmp_path: Path) -> Path:
    """Return a file at head, and three revisions after it that make a table each."""
    path = tmp_path / "head.db"
    path.write_bytes(head_file.read_bytes())
    for place in (1, 2, 3):
        extra_revision.add(tmp_path, f"op.execute('CREATE TABLE made_{place} (id)')", place=place)
    return path


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("fault", ["denied", "driver"])
def test_the_revision_at_fault_is_named(path: Path, fault: str, place: int) -> None:
    body, message = FAULTS[fault]
    extra_revision.add(path.parent, body, place=place)
    before = file_hash(path)
    with pytest.raises(MigrationRefused) as refused:
        command.upgrade(extra_revision.config(path.parent, path), "head")
    assert message.format(extra_revision.number(place)) in str(refused.value)
    assert not isinstance(refused.value, MigrationHalfApplied)
    assert refused.value.__cause__ is not None
    assert file_hash(path) == before


@pytest.mark.parametrize("place", [1, 2, 3])
def test_the_revision_that_has_committed_is_named_with_the_state(path: Path, place: int) -> None:
    extra_revision.add(path.parent, f"{RAW}.commit()", place=place)
    engine = create_engine(f"sqlite:///{path}", connect_args={"factory": WithoutAuthorizer})
    with engine.connect() as connection, pytest.raises(MigrationHalfApplied) as failed:
        command.upgrade(extra_revision.config(path.parent, None, connection), "head")
    engine.dispose()
    revision = extra_revision.number(place)
    # Without a transaction SQLite has committed what Alembic wrote after the revision.
    assert version(path) == [revision]
    assert (
        f"{path}: revision {revision} has ended the transaction of the upgrade by itself. Changes "
        f"made until then may be committed: the database is at {revision}, and may also contain "
        f"parts of {revision}. There is no backup. Restore it, or undo those parts"
    ) in str(failed.value)


def test_an_error_of_the_revision_itself_is_raised_as_it_is(path: Path) -> None:
    extra_revision.add(path.parent, "raise ZeroDivisionError", place=2)
    before = file_hash(path)
    with pytest.raises(ZeroDivisionError):
        command.upgrade(extra_revision.config(path.parent, path), "head")
    assert file_hash(path) == before


def test_a_downgrade_names_the_revision_too(path: Path) -> None:
    extra_revision.add(path.parent, "pass", downgrade="op.execute('COMMIT')", place=2)
    config = extra_revision.config(path.parent, path)
    command.upgrade(config, "head")
    with pytest.raises(MigrationRefused, match=f"revision {extra_revision.number(2)} runs COMMIT"):
        command.downgrade(config, HEAD)
    assert version(path) == [extra_revision.number(3)]
    assert "made_1" in schema(path)


def test_on_postgresql(target: Database, path: Path) -> None:
    for place in (1, 2, 3):
        extra_revision.add(
            path.parent, f"op.execute('CREATE TABLE made_{place} (id int)')", place=place
        )
    extra_revision.add(path.parent, f"{RAW}.cursor().execute('SELECT absent')", place=2)
    config = extra_revision.config(path.parent, target.url)
    wanted = f"nothing was changed. Revision {extra_revision.number(2)} is at fault, report it"
    with pytest.raises(MigrationRefused) as refused:
        command.upgrade(config, "head")
    assert wanted in str(refused.value)
    extra_revision.add(path.parent, f"{RAW}.commit()", place=2)
    with pytest.raises(MigrationHalfApplied) as failed:
        command.upgrade(config, "head")
    assert f"revision {extra_revision.number(2)} has ended the transaction" in str(failed.value)
    assert f"the database is at {extra_revision.number(1)}, and may also" in str(failed.value)
    assert target.psql("SELECT version_num FROM alembic_version") == f"{extra_revision.number(1)}\n"
    assert f"parts of {extra_revision.number(2)}. No backup of it was made. " in str(failed.value)


def test_the_last_revision_is_at_fault_for_what_comes_after_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as an error while the step is reported."""
    last = extra_revision.number(3)

    def fail(_message: str, _direction: str, revision: str, *_: object) -> None:
        if revision == last:
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("shortsdb.migration.environment.log.info", fail)
    wanted = f"Revision {last} is at fault"
    with pytest.raises(MigrationRefused, match=wanted):
        command.upgrade(extra_revision.config(path.parent, path), "head")
