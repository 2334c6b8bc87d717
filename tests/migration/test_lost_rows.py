"""Migrations that lose rows or parts of tables are refused unless they declare it."""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import extra_revision
import legacy_database
import pytest
from alembic import command
from inspect_sqlite import execute, file_hash, row_hashes, schema, version
from project import HEAD, NEXT
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from shortsdb.migration import MigrationRefused

# A table with everything that a rebuild can lose.
KEPT = """
CREATE TABLE parents (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
CREATE TABLE kept (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE NOT NULL,
    size INTEGER DEFAULT 5, note TEXT, parent INTEGER REFERENCES parents (id) ON DELETE CASCADE,
    CONSTRAINT small CHECK (size < 100), CONSTRAINT once UNIQUE (name, size)
);
CREATE INDEX by_note ON kept (note DESC) WHERE note IS NOT NULL;
CREATE INDEX by_upper ON kept (upper(name));
CREATE TRIGGER watch AFTER DELETE ON kept BEGIN SELECT 1; END;
CREATE TABLE pairs (a TEXT, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
INSERT INTO parents VALUES (1, 'p');
INSERT INTO kept (name, size, note, parent)
    VALUES ('a', 1, 'x', 1), ('B', 2, NULL, 1), ('c', 3, 'z', NULL);
DELETE FROM kept WHERE name = 'c';
INSERT INTO pairs VALUES ('1', '2');
"""
COLUMNS = """id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE NOT NULL,
    size INTEGER DEFAULT 5, note TEXT, parent INTEGER REFERENCES parents (id) ON DELETE CASCADE,
    CONSTRAINT small CHECK (size < 100), CONSTRAINT once UNIQUE (name, size)"""
AFTER = """
for statement in (
    "CREATE INDEX by_note ON kept (note DESC) WHERE note IS NOT NULL",
    "CREATE INDEX by_upper ON kept (upper(name))",
    "CREATE TRIGGER watch AFTER DELETE ON kept BEGIN SELECT 1; END",
    "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'kept'",
):
    op.execute(statement)
"""


def rebuild(columns: str = COLUMNS, after: str = AFTER, rows: str = "SELECT * FROM kept") -> str:
    """Return the body of a revision that rebuilds the table."""
    return (
        f'op.execute("""CREATE TABLE fresh ({columns})""")\n'
        f'op.execute("INSERT INTO fresh {rows}")\n'
        'op.execute("DROP TABLE kept")\n'
        'op.execute("ALTER TABLE fresh RENAME TO kept")\n' + after
    )


@pytest.fixture
def path(head_file: Path, tmp_path: Path) -> Path:
    """Return a file at head with rows in it, and with tables of its owner's."""
    path = tmp_path / "head.db"
    path.write_bytes(head_file.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        legacy_database.fill(connection, 60)
    execute(path, KEPT)
    return path


def upgrade(path: Path, body: str, attributes: str = "") -> None:
    folder = path.parent / "revisions"
    folder.mkdir(exist_ok=True)
    extra_revision.add(folder, body, attributes=attributes)
    command.upgrade(extra_revision.config(folder, path), "head")


def refusal(path: Path, body: str, attributes: str = "") -> str:
    """Return the message of the refusal, which must leave everything as it was."""
    before = file_hash(path)
    with pytest.raises(MigrationRefused) as refused:
        upgrade(path, body, attributes)
    assert file_hash(path) == before
    assert "nothing was changed" in str(refused.value)
    assert NEXT in str(refused.value)
    return str(refused.value)


def test_a_lossless_rebuild_passes(path: Path) -> None:
    before = row_hashes(path)
    upgrade(path, rebuild())
    assert row_hashes(path) == before
    assert version(path) == [NEXT]


LOST = {
    "NOT NULL": (rebuild(COLUMNS.replace(" NOT NULL", "")), "NOT NULL of name"),
    "DEFAULT": (rebuild(COLUMNS.replace(" DEFAULT 5", "")), "the DEFAULT of size"),
    "COLLATE": (rebuild(COLUMNS.replace(" COLLATE NOCASE", "")), "COLLATE nocase of name"),
    "CHECK": (
        rebuild(COLUMNS.replace("CONSTRAINT small CHECK (size < 100), ", "")),
        "CHECK ( size < 100 )",
    ),
    "UNIQUE": (
        rebuild(COLUMNS.replace(", CONSTRAINT once UNIQUE (name, size)", "")),
        "UNIQUE (name, size)",
    ),
    "a foreign key": (
        rebuild(COLUMNS.replace(" REFERENCES parents (id) ON DELETE CASCADE", "")),
        "FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE",
    ),
    "what a foreign key does": (
        rebuild(COLUMNS.replace(" ON DELETE CASCADE", "")),
        "FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE",
    ),
    "AUTOINCREMENT": (
        rebuild(COLUMNS.replace(" AUTOINCREMENT", ""), AFTER.replace("SET seq", "SET name")),
        "AUTOINCREMENT",
    ),
    "the last number": (
        rebuild(after=AFTER.replace("seq = 3", "seq = 2")),
        "the last number of AUTOINCREMENT (2 in sqlite_sequence, it was 3)",
    ),
    "the numbering of rows": (
        rebuild(
            COLUMNS.replace("INTEGER PRIMARY KEY AUTOINCREMENT", "INT PRIMARY KEY"),
            AFTER.replace("SET seq", "SET name"),
        ),
        "its PRIMARY KEY (id)",
    ),
    "a trigger": (rebuild(after=AFTER.replace("CREATE TRIGGER", "-- ")), "the trigger watch"),
    "an index on an expression": (
        rebuild(after=AFTER.replace("CREATE INDEX by_upper", "-- ")),
        "the index by_upper",
    ),
    "the WHERE of an index": (
        rebuild(after=AFTER.replace(" WHERE note IS NOT NULL", "")),
        "the index by_note",
    ),
    "WITHOUT ROWID": (
        """
op.execute("CREATE TABLE fresh (a TEXT, b TEXT, PRIMARY KEY (a, b))")
op.execute("INSERT INTO fresh SELECT * FROM pairs")
op.execute("DROP TABLE pairs")
op.execute("ALTER TABLE fresh RENAME TO pairs")
""",
        "would leave pairs without WITHOUT ROWID",
    ),
}


@pytest.mark.parametrize(("body", "phrase"), LOST.values(), ids=LOST)
def test_a_part_that_a_rebuild_loses_is_refused_unless_declared(
    path: Path, body: str, phrase: str, caplog: pytest.LogCaptureFixture
) -> None:
    message = refusal(path, body)
    assert phrase in message
    table = "pairs" if "pairs" in phrase else "kept"
    assert f"would leave {table} without" in message
    # Declared for another table it is refused all the same.
    assert phrase in refusal(path, body, 'drops = {"parents": "why"}')
    with caplog.at_level(logging.WARNING):
        upgrade(path, body, f'drops = {{"{table}": "why"}}')
    assert version(path) == [NEXT]


def test_a_table_that_is_dropped_hides_no_loss_of_the_next(path: Path) -> None:
    execute(path, "CREATE TABLE empty (a)")
    body = LOST["a trigger"][0] + 'op.execute("DROP TABLE empty")'
    assert "would leave kept without the trigger watch" in refusal(path, body)


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 37), reason="STRICT came with 3.37")
def test_losing_strict_is_refused(path: Path) -> None:
    execute(path, "CREATE TABLE typed (id INTEGER PRIMARY KEY, a TEXT) STRICT")
    body = (
        'op.execute("CREATE TABLE fresh (id INTEGER PRIMARY KEY, a TEXT)")\n'
        'op.execute("DROP TABLE typed")\n'
        'op.execute("ALTER TABLE fresh RENAME TO typed")'
    )
    assert "would leave typed without STRICT" in refusal(path, body)


RAW = "op.get_bind().connection.dbapi_connection"
CHANGED = {
    "one lost": rebuild(rows="SELECT * FROM kept WHERE id > 1"),
    "one doubled": rebuild(
        rows="SELECT * FROM kept UNION ALL SELECT 9, name, 9, note, parent FROM kept WHERE id = 1"
    ),
    "one for the other": rebuild(rows="SELECT id, name, 3 - size, note, parent FROM kept"),
    "another type": rebuild(rows="SELECT id, name, size, CAST(note AS BLOB), parent FROM kept"),
    "text for a number": 'op.execute("UPDATE kept SET note = CAST(note AS BLOB)")',
    "another case": 'op.execute("UPDATE kept SET name = lower(name)")',
    "deleted": 'op.execute("/* x */ DELETE FROM [Kept]")',
    "deleted and dropped": 'op.execute("DELETE FROM kept")\nop.execute("DROP TABLE `KEPT`")',
    "by WITH": 'op.execute("WITH one AS (SELECT 1) UPDATE main.kept SET size = 7")',
    "by a raw cursor": f'{RAW}.cursor().execute("UPDATE kept SET size = 7")',
    "by a trigger": (
        'op.execute("CREATE TRIGGER far AFTER INSERT ON parents BEGIN DELETE FROM kept; END")\n'
        'op.execute("INSERT INTO parents VALUES (2, NULL)")'
    ),
    "a column": 'op.execute("DROP INDEX by_note")\nop.execute("ALTER TABLE kept DROP COLUMN note")',
}


@pytest.mark.parametrize("body", CHANGED.values(), ids=CHANGED)
def test_changed_rows_are_refused_unless_declared(
    path: Path, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    attributes = 'changes_rows = {"kept": "why it does"}'
    if "parents" in body:
        attributes = 'changes_rows = {"kept": "why it does", "parents": "and here"}'
    assert "changes_rows = {" in refusal(path, body)
    refusal(path, body, 'changes_rows = {"pairs": "why"}')
    with caplog.at_level(logging.INFO):
        upgrade(path, body, attributes)
    assert version(path) == [NEXT]
    assert f"{NEXT} changes rows of kept: why it does" in caplog.text


def test_a_declaration_covers_only_its_tables(path: Path) -> None:
    body = 'op.execute("UPDATE kept SET size = 7")\nop.execute("DELETE FROM parents")'
    message = refusal(path, body, 'changes_rows = {"kept": "why"}')
    assert "would leave parents with other rows" in message


def test_a_table_is_the_same_in_capital_letters(path: Path) -> None:
    """Its name also begins like those of SQLite's own tables, which end in other letters."""
    execute(
        path,
        "CREATE TABLE SqliteLike (id INTEGER PRIMARY KEY, a TEXT);"
        "INSERT INTO SqliteLike VALUES (1, 'x');"
        "CREATE TABLE mine (id INTEGER PRIMARY KEY, one INTEGER REFERENCES sqliteLIKE (id));"
        "INSERT INTO mine VALUES (1, 1);",
    )
    delete = "op.execute('DELETE FROM sqlitelike')"
    assert "would leave SqliteLike with other rows than before (0, it had 1)" in refusal(
        path, delete
    )
    declared = 'changes_rows = {"SqliteLike": "why"}'
    assert "1 more rows of mine pointing to rows of sqliteLIKE" in refusal(path, delete, declared)
    body = rebuild("id INTEGER PRIMARY KEY, a TEXT", "", "SELECT * FROM sqlitelike")
    upgrade(path, body.replace("kept", "sqlitelike"))
    assert version(path) == [NEXT]


def test_a_refused_revision_is_not_said_to_be_done(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        refusal(path, "op.execute('DELETE FROM pairs')")
        assert f"upgrade {NEXT}" not in caplog.text
        upgrade(path, "pass")
    assert f"upgrade {NEXT}: A revision of a test" in caplog.text


def test_only_what_was_changed_as_declared_is_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    declared = 'changes_rows = {"pairs": "one", "kept": "other"}'
    with caplog.at_level(logging.INFO):
        upgrade(path, "op.execute('UPDATE pairs SET b = 7')", declared)
    assert f"{NEXT} changes rows of pairs: one" in caplog.text
    assert "changes rows of kept" not in caplog.text


@pytest.mark.parametrize("after", [AFTER, ""], ids=["upgraded", "refused"])
def test_no_connection_to_the_state_of_before_is_left_open(path: Path, after: str) -> None:
    gc.disable()  # which may close it, but later
    try:
        with suppress(MigrationRefused):
            upgrade(path, rebuild(after=after))
        descriptors = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        assert str(path) not in {str(entry.readlink()) for entry in descriptors}
    finally:
        gc.enable()


def test_changes_of_an_earlier_revision_are_not_attributed_to_the_next(path: Path) -> None:
    folder = path.parent / "revisions"
    folder.mkdir()
    extra_revision.add(
        folder,
        'op.execute("UPDATE kept SET size = 7")',
        attributes='changes_rows = {"kept": "why"}',
    )
    extra_revision.add(folder, 'op.execute("UPDATE kept SET size = size")', place=2)
    command.upgrade(extra_revision.config(folder, path), "head")
    assert version(path) == [extra_revision.number(2)]


def revisions(path: Path, *bodies: tuple[str, str]) -> None:
    """Upgrade by several revisions at once, each a body and what stands above it."""
    folder = path.parent / "revisions"
    folder.mkdir(exist_ok=True)
    for place, (body, attributes) in enumerate(bodies, start=1):
        extra_revision.add(folder, body, attributes=attributes, place=place)
    command.upgrade(extra_revision.config(folder, path), "head")
    assert version(path) == [extra_revision.number(len(bodies))]


def test_a_table_that_one_revision_makes_the_next_may_rebuild(path: Path) -> None:
    """No database had it before the upgrade, so there is nothing to compare it with."""
    made = """
op.create_table("made", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("a", sa.Text()),
    sa.Column("parent", sa.Integer(), sa.ForeignKey("parents.id")))
op.execute("INSERT INTO made (a) VALUES ('x')")
"""
    rebuilt = batch('batch.alter_column("a", new_column_name="b")', "made")
    dropped = 'op.drop_column("made", "b")'
    parents = batch('batch.add_column(sa.Column("more", sa.Text()))', "parents")
    revisions(path, (made, ""), (rebuilt, ""), (parents, ""), (dropped, ""))


def test_rows_that_point_nowhere_are_found_in_a_table_of_the_same_upgrade(path: Path) -> None:
    made = (
        'op.create_table("made", sa.Column("id", sa.Integer(), primary_key=True),'
        ' sa.Column("parent", sa.Integer(), sa.ForeignKey("parents.id")))'
    )
    with pytest.raises(MigrationRefused, match="1 more rows of made pointing to rows of parents"):
        revisions(path, (made, ""), ('op.execute("INSERT INTO made (parent) VALUES (99)")', ""))


DELETED = 'op.execute("DELETE FROM kept WHERE id = 1")'


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_a_change_after_a_declared_one_is_refused(path: Path, journal_mode: str) -> None:
    execute(path, f"PRAGMA journal_mode = {journal_mode}")
    declared = ('op.execute("UPDATE kept SET size = 7")', 'changes_rows = {"kept": "why"}')
    before = row_hashes(path)
    for body in (DELETED, rebuild(rows="SELECT * FROM kept WHERE id = 1"), rebuild(after="")):
        with pytest.raises(MigrationRefused, match=f"revision {extra_revision.number(2)} would"):
            revisions(path, declared, (body, ""))
        assert row_hashes(path) == before
    revisions(path, declared, (rebuild(), ""))


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_in_a_transaction_of_the_caller_only_changes_of_the_revision_count(
    path: Path, journal_mode: str
) -> None:
    execute(path, f"PRAGMA journal_mode = {journal_mode}")
    folder = path.parent / "revisions"
    folder.mkdir()
    engine = create_engine(f"sqlite:///{path}")
    for body in (DELETED, rebuild(after=AFTER.replace("seq = 3", "seq = 4"))):
        extra_revision.add(folder, body)
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql("INSERT INTO kept (name) VALUES ('of the caller')")
            connection.exec_driver_sql("CREATE TABLE of_the_caller (a)")
            config = extra_revision.config(folder, None, connection)
            if body == DELETED:
                with pytest.raises(MigrationRefused, match=r"other rows than before \(2, it had 3"):
                    command.upgrade(config, "head")
            else:
                command.upgrade(config, "head")
                connection.commit()
    engine.dispose()
    assert version(path) == [NEXT]


def test_rows_are_compared_in_the_thread_of_aiosqlite(path: Path) -> None:
    folder = path.parent / "revisions"
    folder.mkdir()
    declared, change = 'changes_rows = {"kept": ""}', 'op.execute("UPDATE kept SET size = 7")'
    extra_revision.add(folder, rebuild())  # with the file
    extra_revision.add(folder, change, attributes=declared, place=2)
    extra_revision.add(folder, rebuild(), place=3)  # with a copy in memory
    extra_revision.add(folder, DELETED, place=4)

    async def main(to: str) -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        try:
            async with engine.connect() as connection:
                await connection.run_sync(
                    lambda sync: command.upgrade(extra_revision.config(folder, None, sync), to)
                )
        finally:
            await engine.dispose()

    with pytest.raises(MigrationRefused, match="other rows than before"):
        asyncio.run(main("head"))
    asyncio.run(main(extra_revision.number(3)))
    assert version(path) == [extra_revision.number(3)]


def test_no_copy_is_held_in_memory_until_rows_were_changed(path: Path) -> None:
    """A file may be larger than the memory."""

    class Connection(sqlite3.Connection):
        def serialize(self, *_: object, **__: object) -> bytes:
            raise MemoryError

    engine = create_engine(f"sqlite:///{path}", connect_args={"factory": Connection})
    folder = path.parent / "revisions"
    folder.mkdir()
    more = batch('batch.add_column(sa.Column("more", sa.Text()))', "parents")
    extra_revision.add(folder, rebuild())
    extra_revision.add(folder, more, place=2)
    declared = 'changes_rows = {"kept": "why"}'
    extra_revision.add(
        folder, 'op.execute("UPDATE kept SET size = 7")', attributes=declared, place=3
    )
    with engine.connect() as connection:
        command.upgrade(extra_revision.config(folder, None, connection), "head")
    engine.dispose()
    assert version(path) == [extra_revision.number(3)]


def test_what_one_revision_dropped_on_purpose_the_next_has_not_lost(path: Path) -> None:
    execute(path, PLAIN)
    more = batch('batch.add_column(sa.Column("more", sa.Text()))')
    revisions(
        path,
        ('op.drop_index("by_b", "plain")', ""),
        (batch('batch.drop_constraint("once", type_="unique")'), 'drops = {"plain": "why"}'),
        (more, ""),
    )


@pytest.mark.parametrize("name", ["by_b", "some", "on_insert"])
def test_what_one_revision_only_dropped_the_next_has_not_lost(path: Path, name: str) -> None:
    execute(path, f"{PLAIN}CREATE TRIGGER on_insert AFTER INSERT ON plain BEGIN SELECT 1; END;")
    kind = "TRIGGER" if name == "on_insert" else "INDEX"
    others = "\n".join(
        f"op.execute('DROP {kind} {each}')"
        for kind, each in (("INDEX", "some"), ("TRIGGER", "on_insert"))
        if each != name
    )
    more = batch('batch.add_column(sa.Column("more", sa.Text()))')
    revisions(path, (f"op.execute('DROP {kind} {name}')", ""), (f"{others}\n{more}", ""))


def batch(line: str, table: str = "plain") -> str:
    return f'with op.batch_alter_table("{table}", recreate="always") as batch:\n    {line}'


PLAIN = """
CREATE TABLE plain (id INTEGER NOT NULL PRIMARY KEY, a VARCHAR NOT NULL, b INTEGER, empty TEXT,
    CONSTRAINT once UNIQUE (a, b));
CREATE INDEX by_b ON plain (b);
CREATE INDEX some ON plain (id) WHERE id > 1;
INSERT INTO plain VALUES (1, 'x', 1, NULL), (2, 'y', 2, NULL);
"""
FAITHFUL = {
    "add": batch('batch.add_column(sa.Column("more", sa.Text()))'),
    "add with a default": batch(
        'batch.add_column(sa.Column("more", sa.Integer(), server_default="0", nullable=False))'
    ),
    "add first": batch('batch.add_column(sa.Column("more", sa.Text()), insert_before="a")'),
    "drop what is empty": batch('batch.drop_column("empty")'),
    "a longer type": batch('batch.alter_column("a", type_=sa.String(99))'),
    "NOT NULL": batch('batch.alter_column("b", nullable=False)'),
    "a default": batch('batch.alter_column("b", server_default="4")'),
    "rename": batch('batch.alter_column("a", new_column_name="renamed")'),
    "rename what is indexed": batch('batch.alter_column("b", new_column_name="renamed")'),
    "rename and add": batch(
        'batch.alter_column("a", new_column_name="renamed")\n'
        '    batch.add_column(sa.Column("more", sa.Text()))'
    ),
    "rename and drop": batch(
        'batch.alter_column("b", new_column_name="renamed")\n    batch.drop_column("empty")'
    ),
    "a constraint": batch('batch.create_check_constraint("positive", "b > 0")'),
    "an index": batch('batch.create_index("by_a", ["a"])'),
    "an index that is dropped by its name": 'op.drop_index("by_b", "plain")\n'
    + batch('batch.add_column(sa.Column("more", sa.Text()))'),
    "rename in place": 'op.execute("ALTER TABLE plain RENAME COLUMN b TO renamed")',
    "add in place": 'op.add_column("plain", sa.Column("more", sa.Text()))',
}


@pytest.mark.parametrize("body", FAITHFUL.values(), ids=FAITHFUL)
@pytest.mark.parametrize("backup", [None, "off"])
def test_lossless_changes_of_a_table_pass(path: Path, body: str, backup: str | None) -> None:
    execute(path, PLAIN)
    folder = path.parent / "revisions"
    folder.mkdir()
    extra_revision.add(folder, body)
    command.upgrade(extra_revision.config(folder, path, backup=backup), "head")
    assert version(path) == [NEXT]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM plain").fetchone() == (2,)


UNFAITHFUL = {
    "an index that is left out": (
        batch('batch.drop_index("by_b")'),
        "would leave plain without the index by_b",
    ),
    "a type that changes values": (
        batch('batch.alter_column("b", type_=sa.Text())'),
        "would leave plain with other rows than before (2, it had 2)",
    ),
    "drop what is not empty": (
        batch('batch.drop_column("b")'),
        "would drop plain.b with the values in it",
    ),
    "drop and add": (
        batch('batch.drop_column("a")\n    batch.add_column(sa.Column("more", sa.Text()))'),
        "would drop plain.a with the values in it",
    ),
    "drop and change": (
        batch('batch.drop_column("b")') + "\nop.execute(\"UPDATE plain SET a = 'z'\")",
        "would leave plain with other rows than before (2, it had 2)",
    ),
    "nullable": (
        batch('batch.alter_column("a", nullable=True)'),
        "would leave plain without NOT NULL of a",
    ),
    "a constraint": (
        batch('batch.drop_constraint("once", type_="unique")'),
        "would leave plain without UNIQUE (a, b)",
    ),
}


@pytest.mark.parametrize(("body", "phrase"), UNFAITHFUL.values(), ids=UNFAITHFUL)
def test_losses_of_batch_alter_table_are_named(path: Path, body: str, phrase: str) -> None:
    execute(path, PLAIN)
    if "drop_column" in body:
        body = 'op.drop_index("by_b", "plain")\n' + body
    assert phrase in refusal(path, body)


def down(path: Path, body: str, attributes: str = "") -> None:
    """Upgrade by a revision that only adds, and downgrade by `body`."""
    folder = path.parent / "revisions"
    folder.mkdir(exist_ok=True)
    extra_revision.add(folder, "pass", downgrade=body, attributes=attributes)
    command.upgrade(extra_revision.config(folder, path), "head")
    command.downgrade(extra_revision.config(folder, path), HEAD)


def test_a_downgrade_may_drop_tables_and_columns(path: Path) -> None:
    execute(path, PLAIN)
    body = 'op.execute("DROP TABLE parents")\n' + batch(
        'batch.drop_column("a")\n    batch.add_column(sa.Column("more", sa.Text()))'
    )
    down(path, body.replace("DROP TABLE parents", "DROP TABLE pairs"))
    assert version(path) == [HEAD]
    assert "pairs" not in schema(path)


def test_a_downgrade_that_changes_rows_is_refused_unless_declared(path: Path) -> None:
    body = 'op.execute("DELETE FROM kept WHERE id = 1")'
    with pytest.raises(MigrationRefused, match="would leave kept with other rows"):
        down(path, body)
    assert version(path) == [NEXT]
    down(path, body, 'changes_rows = {"kept": "why"}')
    assert version(path) == [HEAD]


def test_a_downgrade_that_loses_a_part_warns(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        down(path, LOST["a trigger"][0])
    assert version(path) == [HEAD]
    assert "kept loses the trigger watch" in caplog.text
