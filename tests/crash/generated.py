"""Properties of generated databases: no loss, no change of foreign objects, no false refusal.

Hypothesis's settings determine the number of databases for each property.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import legacy_database
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspect_sqlite import file_hash, row_hashes, same_data, schema, version
from project import HEAD
from schema_strategies import genuine, mutants

from shortsdb.migration import MigrationRefused
from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Rows = dict[str, list[tuple[Any, ...]]]

# SQLite stores any kind of value in any column, and deployed files may contain such values.
_ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_MOMENTS = st.datetimes().map(lambda moment: moment.isoformat(" "))
_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_FLOATS = st.floats(allow_nan=False)
_BY_TYPE = {"INTEGER": _INTEGERS, "FLOAT": _FLOATS, "DATETIME": _MOMENTS}
_ANYTHING = st.one_of(_INTEGERS, _FLOATS, _ANY_TEXT, st.binary(), _MOMENTS)


def _columns(ddl: str) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(ddl)
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: connection.execute(f"PRAGMA table_info({name})").fetchall() for (name,) in names
        }


def _rows(infos: list[tuple[Any, ...]]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    values = []
    uniques = []
    for position, (_, name, declared, not_null, _, in_key) in enumerate(infos):
        value = _BY_TYPE.get(declared, _ANY_TEXT)
        if in_key or name == "video_id":
            uniques.append(position)
        else:
            value = st.one_of(value, _ANYTHING)
            if not not_null:
                value = st.one_of(st.none(), value)
        values.append(value)
    return st.lists(
        st.tuples(*values), max_size=5, unique_by=tuple(_item(position) for position in uniques)
    )


def _item(position: int) -> Any:  # noqa: ANN401 - an accessor of any value
    return lambda row: row[position]


_COLUMNS = _columns(BASELINES["0008"])
_DEPLOYED = set(_columns(legacy_database.SCHEMA))
_DATABASES = st.fixed_dictionaries({name: _rows(infos) for name, infos in _COLUMNS.items()})


def check(name: str, examples: int, *, derandomize: bool) -> None:
    """Try a property on `examples` databases.

    Raises:
        AssertionError: A property does not hold; the message shows the smallest counterexample.
    """
    property_, strategy = PROPERTIES[name]
    # Hypothesis cannot run a wrapped function again with other settings, so wrap it here.
    settings(
        max_examples=examples,
        derandomize=derandomize,
        deadline=None,  # timings are not asserted
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )(given(strategy)(property_))()


def up_down_and_up_keeps_every_row(rows: Rows) -> None:
    with _database(legacy_database.SCHEMA) as path:
        _insert(path, {table: rows[table] for table in rows if table in _DEPLOYED})
        before, schema_before = row_hashes(path), schema(path)
        _upgrade(path)
        assert {table: row_hashes(path)[table] for table in before} == before
        schema_at_head = schema(path)
        _insert(path, {table: rows[table] for table in rows if table not in _DEPLOYED})
        command.downgrade(alembic_config(str(path)), "0001")
        assert row_hashes(path) == before
        assert {name: schema(path)[name] for name in schema_before} == schema_before
        _upgrade(path)
        assert {table: row_hashes(path)[table] for table in before} == before
        assert schema(path) == schema_at_head


def adopting_all_ten_tables_keeps_every_row(rows: Rows) -> None:
    with _database(BASELINES["0008"]) as path:
        _insert(path, rows)
        before = path.with_name("before")
        shutil.copy(path, before)
        _upgrade(path)
        assert same_data(before, path)


def genuine_variants_are_adopted(ddl: str) -> None:
    with _database(ddl) as path:
        before = path.with_name("before")
        shutil.copy(path, before)
        _upgrade(path)
        assert version(path) == [HEAD]
        assert same_data(before, path)


def mutants_are_refused_untouched(ddl: str) -> None:
    with _database(ddl) as path:
        before = file_hash(path)
        try:
            _upgrade(path)
        except MigrationRefused as refusal:
            assert "does not fit" in str(refusal)  # noqa: PT017 - the other outcome fails below
        else:
            raise AssertionError(f"upgraded, and should have been refused:\n{ddl}")
        assert file_hash(path) == before
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]


PROPERTIES: dict[str, tuple[Callable[[Any], None], st.SearchStrategy[Any]]] = {
    property_.__name__: (property_, strategy)
    for property_, strategy in (
        (up_down_and_up_keeps_every_row, _DATABASES),
        (adopting_all_ten_tables_keeps_every_row, _DATABASES),
        (genuine_variants_are_adopted, genuine()),
        (mutants_are_refused_untouched, mutants()),
    )
}


@contextmanager
def _database(ddl: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generated.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(ddl)
        yield path


def _insert(path: Path, rows: Rows) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, values in rows.items():
            names = ", ".join(column[1] for column in _COLUMNS[table])
            places = ", ".join("?" * len(_COLUMNS[table]))
            connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", values)


def _upgrade(path: Path) -> None:
    command.upgrade(alembic_config(str(path)), "head")
