"""Generated rebuilds of a table, lossless and lossy, and which of them are refused."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.rebuild_checks import RebuildChecks
from shortsdb.migration.transaction import on_driver
from shortsdb.sqlite.authorizer import Authorizer
from shortsdb.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = "Kept Rows"
_VALUES = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.sampled_from(
        [1, 1.0, "1", b"1", "a", "A", "a ", "", b"", 2**62, float(2**62), "\0", "x\0y"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
)
_ROWS = st.lists(st.tuples(_VALUES, _VALUES, _VALUES), min_size=1, max_size=8)
_KEYS = st.sampled_from(["id INTEGER PRIMARY KEY, ", "id INTEGER PRIMARY KEY AUTOINCREMENT, ", ""])
_COLLATIONS = st.sampled_from(["", " COLLATE NOCASE", " COLLATE RTRIM"])

# Objects of the table; a rebuild that leaves one out loses it.
PARTS = {
    "index": 'CREATE INDEX by_a ON "Kept Rows" (a)',
    "trigger": 'CREATE TRIGGER watch AFTER DELETE ON "Kept Rows" BEGIN SELECT 1; END',
}
_OF_TABLE = ["CHECK", "AUTOINCREMENT", "COLLATE", "NOT NULL", "DEFAULT", "last number"]
# Changes of the rows: SQL to run after the copy. Some change nothing in some tables.
_FIRST = 'rowid = (SELECT min(rowid) FROM "Kept Rows")'
CHANGES = {
    "lose one": f'DELETE FROM "Kept Rows" WHERE {_FIRST}',
    "lose all": "/* x */ DELETE FROM [kept rows]",
    "double one": f'INSERT INTO "Kept Rows" (a, b, c, d) SELECT a, b, c, d FROM "Kept Rows" WHERE {_FIRST}',  # noqa: E501 - SQL
    "another type": f"UPDATE `KEPT ROWS` SET a = CASE typeof(a) WHEN 'text' THEN CAST(a AS BLOB)"
    f" WHEN 'integer' THEN CAST(a AS REAL) WHEN 'blob' THEN CAST(a AS TEXT)"
    f" WHEN 'real' THEN CAST(a AS TEXT) ELSE 0 END WHERE {_FIRST}",
    "another case": f"UPDATE \"Kept Rows\" SET b = 'q' || b || 'Q' WHERE b IS NOT NULL AND {_FIRST}",  # noqa: E501 - SQL
    "a space": f"UPDATE \"Kept Rows\" SET b = b || ' ' WHERE {_FIRST}",
    "NULL": f'UPDATE "Kept Rows" SET c = NULL WHERE {_FIRST}',
    "swapped columns": 'UPDATE "Kept Rows" SET a = b, b = a',
    "one for all": f'UPDATE "Kept Rows" SET a = (SELECT a FROM "Kept Rows" WHERE {_FIRST})',
    "shifted": 'UPDATE "Kept Rows" SET b = (SELECT max(b) FROM "Kept Rows")',
}
_HOW = st.sampled_from(["rename the new one", "rename the old one", "copy and back", "in place"])


def _content(connection: sqlite3.Connection, key: str) -> list[str]:
    rows = connection.execute(
        f"SELECT {'id, ' if key else ''}typeof(a), CAST(a AS BLOB), typeof(b), CAST(b AS BLOB),"
        ' typeof(c), CAST(c AS BLOB) FROM "Kept Rows"'
    ).fetchall()
    return sorted(map(repr, rows))


def _create(key: str, collation: str, check: str, lost: str = "") -> str:
    words = {
        "AUTOINCREMENT": " AUTOINCREMENT",
        "CHECK": check,
        "COLLATE": collation,
        "DEFAULT": " DEFAULT 7",
        "NOT NULL": " NOT NULL",
    }
    ddl = f'CREATE TABLE "{TABLE}" ({key}a, b{collation}, c{check}, d NOT NULL DEFAULT 7)'
    return ddl.replace(words[lost], "") if words.get(lost) else ddl


def _rebuild(run: Callable[[str], Any], how: str, new: str, columns: str) -> None:
    if how == "rename the new one":
        run(new.replace(TABLE, "fresh", 1))
        run(f'INSERT INTO fresh ({columns}) SELECT {columns} FROM "{TABLE}"')
        run(f'DROP TABLE "{TABLE.upper()}"')
        run(f'ALTER TABLE fresh RENAME TO "{TABLE}"')
    elif how == "rename the old one":
        run("PRAGMA legacy_alter_table = ON")
        run(f'ALTER TABLE "{TABLE}" RENAME TO stale')
        run(new)
        run(f'INSERT INTO "{TABLE}" ({columns}) SELECT {columns} FROM stale')
        run("DROP TABLE stale")
    elif how == "copy and back":
        run(f'CREATE TABLE aside AS SELECT * FROM "{TABLE}"')
        run(f"DROP TABLE [{TABLE.lower()}]")
        run(new)
        run(f'INSERT INTO "{TABLE}" ({columns}) SELECT {columns} FROM aside')
        run("DROP TABLE aside")


def _mutant(  # noqa: PLR0913, PLR0917 - one for each thing that varies
    rows: list[tuple[Any, ...]],
    key: str,
    collation: str,
    check: str,
    how: str,
    change: str,
    lost: str,
    journal: str,
    *,
    watched: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute(_create(key, collation, check))
            connection.execute("CREATE TABLE untouched (id INTEGER PRIMARY KEY)")
            for part in PARTS.values():
                connection.execute(part)
            connection.executemany(
                f'INSERT OR IGNORE INTO "{TABLE}" (a, b, c) VALUES (?, ?, ?)', rows
            )
            before = _content(connection, key)
        in_place = how == "in place"
        new = _create(key, collation, check, lost)
        engine = create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")
        with engine.connect() as migrated:
            run = migrated.exec_driver_sql
            run("BEGIN IMMEDIATE")
            checks = RebuildChecks(migrated, "alembic_version", Target.parse(path), path)
            authorizer = Authorizer(lambda: True) if watched else None
            on_driver(migrated, lambda driver: driver.set_authorizer(authorizer))
            columns = "id, a, b, c, d" if key else "a, b, c, d"
            _rebuild(run, how, new, columns)
            numbered = "AUTOINCREMENT" in new
            if lost == "last number" and numbered and not in_place:
                run("UPDATE sqlite_sequence SET seq = seq - 1")
            if change:
                run(CHANGES[change])
            for name, part in PARTS.items():
                if name != lost and not in_place:
                    run(part)
            on_driver(migrated, lambda driver: driver.set_authorizer(None))
            raw: Any = migrated.connection.driver_connection
            other = _content(raw, key) != before
            missing = not in_place and (
                lost in PARTS
                or new != _create(key, collation, check)
                or (lost == "last number" and numbered)
            )
            refused = ""
            try:
                checks.check("0009", authorizer, changes={}, drops={}, upgrades=True)
            except MigrationRefused as refusal:
                refused = str(refusal)
            assert ("other rows" in refused or "with the" in refused) == other, refused
            assert bool(refused) == (other or missing), refused
            run("ROLLBACK")
        engine.dispose()
        COUNTS["mutants" if other or missing else "faithful"] += 1


_DRAWN: dict[str, st.SearchStrategy[Any]] = {
    "rows": _ROWS,
    "key": _KEYS,
    "collation": _COLLATIONS,
    "check": st.sampled_from(["", " CHECK (c <> 'no')"]),
    "how": _HOW,
    "change": st.sampled_from(["", "", *CHANGES]),
    "lost": st.sampled_from(["", "", *PARTS, *_OF_TABLE]),
    "journal": st.sampled_from(["DELETE", "WAL"]),
    "watched": st.booleans(),
}
COUNTS = {"mutants": 0, "faithful": 0}


def try_mutants(examples: int, *, derandomize: bool) -> dict[str, int]:
    """Rebuild a table in `examples` ways, and return the numbers of lossy and lossless rebuilds.

    Raises:
        AssertionError: A lossy rebuild was not refused, or a lossless one was.
    """
    COUNTS.update(mutants=0, faithful=0)
    settings(
        max_examples=examples,
        derandomize=derandomize,
        deadline=None,
        database=None,
        # Counterexamples are small already, so there is no shrinking.
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )(given(**_DRAWN)(_mutant))()
    return dict(COUNTS)
