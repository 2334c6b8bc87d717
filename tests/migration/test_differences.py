"""What counts as a difference between models and database, and what a new revision is given."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.operations.ops import (
    AddColumnOp,
    AlterColumnOp,
    DowngradeOps,
    MigrationScript,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from project import NEXT
from sqlalchemy import (
    Column,
    Connection,
    DefaultClause,
    Index,
    Integer,
    MetaData,
    NullPool,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    text,
)
from sqlalchemy.sql.functions import current_timestamp

from shortsdb.migration import alembic_config
from shortsdb.migration.autogenerate import comparison_options
from shortsdb.models import metadata as models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alembic.config import Config
    from postgresql_server import Database

MODELS = MetaData()
Table(
    "t",
    MODELS,
    Column("id", Integer, primary_key=True),
    Column("a", String, nullable=False),
    Column("b", String),
    UniqueConstraint("b", "a"),
    Index("i", "b", "a"),
)
COLUMNS = "CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, a {a}, b {b}{more});"
TABLE = COLUMNS.format(a="VARCHAR NOT NULL", b="VARCHAR", more=", UNIQUE (b, a)")
BARE = COLUMNS.format(a="VARCHAR NOT NULL", b="VARCHAR", more="")
INDEX = "CREATE INDEX i ON t (b, a);"


@contextmanager
def environment(
    baseline: str = TABLE + INDEX,
    config: Config | None = None,
    **more: Any,  # noqa: ANN401 - those of configure
) -> Iterator[EnvironmentContext]:
    """Configure Alembic as for a command that compares `MODELS`."""
    config = config or alembic_config()
    with EnvironmentContext(config, ScriptDirectory.from_config(config)) as context:
        context.configure(**comparison_options(MODELS, {"0001": baseline}), **more)
        yield context


def differences(connection: Connection, baseline: str = TABLE + INDEX) -> list[str]:
    """Return the kinds of the differences."""
    with environment(baseline, connection=connection) as context:
        found = compare_metadata(context.get_context(), MODELS)
    return [diff[0][0] if isinstance(diff, list) else diff[0] for diff in found]


@pytest.mark.parametrize(
    ("ddl", "baseline", "kinds"),
    [
        (TABLE + INDEX, TABLE + INDEX, []),
        (TABLE + INDEX + "CREATE TABLE other (x); CREATE INDEX j ON t (a)", TABLE + INDEX, []),
        (TABLE + INDEX + "ALTER TABLE t ADD COLUMN of_others TEXT", TABLE + INDEX, []),
        # What an adopted database may lack, and what it may not.
        (TABLE, TABLE + INDEX, []),
        (BARE + INDEX, TABLE + INDEX, []),
        (TABLE, TABLE, ["add_index"]),
        (TABLE, f"{TABLE} CREATE INDEX i ON t (a, b)", ["add_index"]),
        (BARE + INDEX, BARE + INDEX, ["add_constraint"]),
        # An index of that name that is another one.
        (TABLE + INDEX.replace("E I", "E UNIQUE I"), TABLE + INDEX, ["remove_index", "add_index"]),
        # SQLite treats types of one affinity alike.
        (TABLE.replace("b VARCHAR", "b TEXT DEFAULT 'x'") + INDEX, TABLE + INDEX, []),
        (TABLE.replace("b VARCHAR", "b INTEGER") + INDEX, TABLE + INDEX, ["modify_type"]),
        ("", TABLE + INDEX, ["add_table"]),
    ],
)
def test_on_sqlite(ddl: str, baseline: str, kinds: list[str]) -> None:
    engine = create_engine("sqlite://", poolclass=NullPool)
    with engine.connect() as connection:
        connection.connection.cursor().executescript(ddl)
        assert differences(connection, baseline) == kinds


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ("SELECT 1", []),
        ("CREATE TABLE other (x int); CREATE INDEX j ON t (a); ALTER TABLE t ADD c int", []),
        ("DROP INDEX i", ["add_index"]),
        ("ALTER TABLE t DROP CONSTRAINT t_b_a_key", ["add_constraint"]),
        ("ALTER TABLE t ALTER b TYPE int USING 1", ["modify_type"]),
        ("ALTER TABLE t ALTER b SET DEFAULT 'x'", ["modify_default"]),
    ],
)
def test_on_postgresql_nothing_is_ignored_that_is_ours(
    target: Database, change: str, kinds: list[str]
) -> None:
    engine = create_engine(target.url, poolclass=NullPool)
    with engine.connect() as connection:
        MODELS.create_all(connection)
        connection.execute(text(change))
        assert differences(connection) == kinds


def script_of(*changes: AlterColumnOp | AddColumnOp) -> MigrationScript:
    """Return a revision that changes the table `t`, and back."""
    operations = [ModifyTableOps("t", list(changes)) for _ in range(4)]
    return MigrationScript(None, UpgradeOps(operations[:2]), DowngradeOps(operations[2:]))


def processed(
    script: MigrationScript,
    dialect: str = "sqlite",
    config: Config | None = None,
    baseline: str = TABLE,
) -> list[MigrationScript]:
    """Return what is left of a revision."""
    directives = [script]
    with environment(baseline, config, dialect_name=dialect) as context:
        migration = context.get_context()
        migration.opts["process_revision_directives"](migration, None, directives)
    return directives


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("column", "changes", "ignored"),
    [
        ("id", {"modify_nullable": False}, True),
        ("id", {"modify_nullable": True}, True),
        ("id", {"modify_nullable": False, "modify_type": Text()}, False),
        ("id", {"modify_type": Text()}, False),
        ("id", {"modify_server_default": None}, False),
        ("a", {"modify_nullable": False}, True),
        ("a", {"modify_nullable": False, "modify_type": Text()}, False),
        ("a", {"modify_nullable": True}, False),
        ("b", {"modify_nullable": False}, False),
    ],
)
def test_a_column_may_be_nullable_where_a_database_is_adopted_as_it_is(
    column: str, changes: dict[str, Any], dialect: str, *, ignored: bool
) -> None:
    script = script_of(AlterColumnOp("t", column, **changes))
    (left,) = processed(script, dialect)
    is_empty = ignored and dialect == "sqlite"
    for operations in (left.upgrade_ops, left.downgrade_ops):
        assert operations is not None
        assert operations.is_empty() == is_empty
        assert len(operations.ops) == (0 if is_empty else 2)


def test_the_other_changes_of_its_table_stay() -> None:
    added = AddColumnOp("t", Column("c", Integer))
    (left,) = processed(script_of(AlterColumnOp("t", "id", modify_nullable=False), added))
    assert left.upgrade_ops is not None
    assert [table.ops for table in left.upgrade_ops.ops] == [[added], [added]]  # type: ignore[attr-defined]


def config_of(**options: object) -> Config:
    """Return the configuration of the alembic program with these options."""
    config = alembic_config()
    config.cmd_opts = SimpleNamespace(**options)  # type: ignore[assignment]
    return config


@pytest.mark.parametrize(
    ("config", "rev_id"),
    [
        (None, NEXT),  # of a caller, or of `alembic check`
        (config_of(autogenerate=False, rev_id=None), NEXT),
        (config_of(autogenerate=False, rev_id="0042"), "chosen"),
        (config_of(autogenerate=True, rev_id=None), None),
    ],
)
def test_the_id_of_a_revision_that_does_nothing(config: Config | None, rev_id: str | None) -> None:
    empty = MigrationScript("chosen", UpgradeOps(), DowngradeOps())
    assert [script.rev_id for script in processed(empty, config=config)] == [rev_id] * bool(rev_id)


def test_the_id_of_a_revision_that_does_something() -> None:
    script = script_of(AddColumnOp("t", Column("c", Integer)))
    (left,) = processed(script, config=config_of(autogenerate=True, rev_id=None))
    assert left.rev_id == NEXT


def test_the_first_revision_is_0001(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    config = alembic_config()
    config.set_main_option("script_location", str(tmp_path))
    (first,) = processed(script_of(), config=config)
    assert first.rev_id == "0001"


def test_without_a_revision_nothing_is_done() -> None:
    with environment(dialect_name="sqlite") as context:
        context.get_context().opts["process_revision_directives"](context.get_context(), None, [])


MOMENT = DefaultClause(current_timestamp())


@pytest.mark.parametrize(
    ("kind", "item", "rendered"),
    [
        ("type", models.tables["analytics"].c.measured_at.type, "sa.DateTime(timezone=True)"),
        ("type", Integer(), False),
        ("column", models.tables["analytics"].c.measured_at.type, False),
        ("server_default", MOMENT, 'sa.text("CURRENT_TIMESTAMP")'),
        ("server_default", DefaultClause("1"), False),
        ("server_default", None, False),
        ("column", MOMENT, False),
    ],
)
def test_types_and_defaults_are_written_without_the_models(
    kind: str, item: object, rendered: object
) -> None:
    assert comparison_options(MODELS, {})["render_item"](kind, item, None) == rendered
