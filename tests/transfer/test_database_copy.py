"""What a copy says and refuses, whichever side it comes from, and how far it is."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from inspect_sqlite import row_hashes
from sqlalchemy.exc import OperationalError

from shortsdb.migration import MigrationRefused
from shortsdb.models import metadata
from shortsdb.target import Target
from shortsdb.transfer import copy, database_copy
from shortsdb.transfer.database_copy import _explained, _progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postgresql_server import Database

FILE, SERVER = Target.parse("/f.db"), Target.parse("postgresql://h/d")


@pytest.mark.parametrize("sides", [(FILE, SERVER), (SERVER, FILE)], ids=["there", "back"])
@pytest.mark.parametrize(
    ("error", "name"),
    [
        (sqlite3.OperationalError("broke"), FILE.name),
        (OperationalError("SELECT", {}, sqlite3.OperationalError("broke")), FILE.name),
        (psycopg.OperationalError("broke"), SERVER.name),
        (OperationalError("SELECT", {}, psycopg.OperationalError("broke")), SERVER.name),
    ],
    ids=["sqlite3", "SQLAlchemy on sqlite3", "psycopg", "SQLAlchemy on psycopg"],
)
def test_an_error_of_a_driver_names_its_side(
    sides: tuple[Target, Target], error: Exception, name: str
) -> None:
    with pytest.raises(MigrationRefused) as refused, _explained(*sides):
        raise error
    assert str(refused.value).startswith(f"{name}: broke")
    assert str(refused.value).endswith("; nothing was copied")
    assert refused.value.__cause__ is error


def test_an_error_in_the_commit_does_not_say_that_nothing_was_copied() -> None:
    lost = psycopg.OperationalError("server closed the connection")
    error = OperationalError(None, None, lost, connection_invalidated=True)
    with (
        pytest.raises(MigrationRefused, match="it is either as it was or fully copied"),
        _explained(FILE, SERVER),
    ):
        raise error


@pytest.mark.parametrize("error", [MigrationRefused("no"), ZeroDivisionError()], ids=str)
def test_other_errors_are_raised_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, _explained(FILE, SERVER):
        raise error
    assert raised.value is error


class Rows:
    """A side that has some rows in one of its tables."""

    def __init__(self, total: int) -> None:
        """Have so many."""
        self.total = total

    def count(self, table: object) -> int:
        """Return how many a table has."""
        return self.total if table is metadata.tables["clips"] else 0


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Return what is shown of the progress, as it is shown."""
    found: list[tuple[str, float]] = []

    @contextmanager
    def progress_line(label: str) -> Iterator[Callable[[float], None]]:
        yield lambda share: found.append((label, share))

    monkeypatch.setattr(database_copy, "progress_line", progress_line)
    return found


@pytest.mark.parametrize(
    ("total", "steps", "shares"), [(0, [0], [0]), (1, [1], [1]), (4, [1, 2, 1], [0.25, 0.75, 1])]
)
def test_the_progress_is_the_share_of_all_rows(
    shown: list[tuple[str, float]], total: int, steps: list[int], shares: list[float]
) -> None:
    side: Any = Rows(total)
    with _progress("copying", side) as advance:
        for rows in steps:
            advance(rows)
    assert shown == [("copying", share) for share in shares]


def test_a_copy_into_a_schema_and_back_is_one_operation_and_shows_each_step(
    full_file: Path,
    target: Database,
    tmp_path: Path,
    shown: list[tuple[str, float]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "shortsdb.transfer")
    rows = row_hashes(full_file)
    target.psql("CREATE TABLE one (x int)")
    ids = set()
    for source, to in ((str(full_file), target.url), (target.url, str(tmp_path / "back.db"))):
        caplog.clear()
        shown.clear()
        verified = copy(source, to, schema="one")
        labels = [f"checking {Target.parse(source, 'one' if to != target.url else None)}"]
        assert list(dict.fromkeys(label for label, _ in shown)) == [*labels, "copying", "comparing"]
        assert [share for _, share in shown].count(1) >= 3
        (one,) = {vars(record)["correlation_id"] for record in caplog.records}
        ids.add(one)
        said = caplog.records[-1].getMessage()
        assert f"{sum(table.rows for table in verified)} rows in" in said
    assert len(ids - {None}) == 2
    assert row_hashes(tmp_path / "back.db").keys() == rows.keys()
    assert target.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "1\n"


def test_a_target_is_looked_at_before_the_source_is_read(target: Database, tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    with pytest.raises(MigrationRefused) as refused:
        copy(str(source), target.url)
    assert str(refused.value) == f"{source} does not exist"
    with pytest.raises(MigrationRefused, match=f"^{tmp_path}/none/x.db does not exist$"):
        copy(str(tmp_path / "none" / "x.db"), target.url)
    with pytest.raises(MigrationRefused, match="is a folder, not a database file"):
        copy(str(tmp_path), target.url)
    source.write_text("no database " * 100)
    with pytest.raises(MigrationRefused, match="is not an SQLite database"):
        copy(str(source), target.url)
    target.psql("CREATE TABLE clips (id int); INSERT INTO clips VALUES (1)")
    with pytest.raises(MigrationRefused, match="is not empty: clips hold rows"):
        copy(str(source), target.url)
