"""Drift: what counts as a difference between models and database, and how revisions are made.

Two kinds of difference are none: what SQLite itself treats alike, and what the schema never owned
(tables of other software, further columns and indexes). So nothing is ever proposed to be dropped.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from alembic import context
from alembic.operations.ops import AlterColumnOp, MigrationScript, ModifyTableOps
from sqlalchemy import DefaultClause, Index, UniqueConstraint
from sqlalchemy.sql.functions import current_timestamp
from sqlalchemy.types import TypeDecorator

from shortsdb.migration.errors import MigrationRefused
from shortsdb.sqlite.schema import affinity, schema_of_script

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Column, MetaData
    from sqlalchemy.types import TypeEngine


def comparison_options(metadata: MetaData, baselines: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of `context.configure` that decide what autogenerate and check see.

    Args:
        metadata: The schema as the models have it.
        baselines: The DDL script of every revision that unversioned databases are known to have. A
            database adopted there may name its unique constraints differently or not at all, and
            may lack an index or the NOT NULL of a column.
    """

    @cache
    def adopted() -> set[tuple[str, str, tuple[str, ...]]]:
        return {
            entry
            for script in baselines.values()
            for name, table in schema_of_script(script).items()
            for entry in [
                *(("index", name, columns) for columns in table.indexes.values()),
                *(("unique_constraint", name, columns) for columns in table.unique),
            ]
        }

    def not_null() -> set[tuple[str, str]]:
        return {
            (name, column)
            for script in baselines.values()
            for name, table in schema_of_script(script).items()
            for column, found in table.columns.items()
            if found.not_null
        }

    def process_revision_directives(
        migration: MigrationContext, revision: object, directives: list[MigrationScript]
    ) -> None:
        _process_revision_directives(migration, revision, directives, not_null())

    def include_name(name: str | None, type_: str, _parents: Mapping[str, str | None]) -> bool:
        return type_ != "table" or name in metadata.tables

    def include_object(
        item: object,
        _name: str | None,
        type_: str,
        reflected: bool,  # noqa: FBT001 - Alembic's signature
        compare_to: object,
    ) -> bool:
        if compare_to is not None:
            return True
        if reflected:
            return False
        if not isinstance(item, Index | UniqueConstraint) or item.table is None:
            return True
        if context.get_context().dialect.name != "sqlite":
            return True
        columns = tuple(column.name for column in item.columns)
        key = columns if isinstance(item, Index) else tuple(sorted(columns))
        return (type_, item.table.name, key) not in adopted()

    return {
        "target_metadata": metadata,
        "include_name": include_name,
        "include_object": include_object,
        "compare_type": _compare_type,
        "compare_server_default": _compare_server_default,
        "render_item": _render_item,
        "process_revision_directives": process_revision_directives,
    }


def _compare_type(
    migration: MigrationContext,
    _inspected: object,
    _column: object,
    inspected_type: TypeEngine[Any],
    metadata_type: TypeEngine[Any],
) -> bool | None:
    """Compare types by affinity on SQLite, and as Alembic does elsewhere."""
    if migration.dialect.name != "sqlite":
        return None
    found, wanted = (
        affinity(type_.compile(migration.dialect)) for type_ in (inspected_type, metadata_type)
    )
    return found != wanted


def _compare_server_default(migration: MigrationContext, *_: object) -> bool | None:
    """Ignore server defaults on SQLite, which can only be changed by rebuilding the table."""
    return False if migration.dialect.name == "sqlite" else None


def _render_item(type_: str, item: object, _autogen: object) -> str | bool:
    """Write types and defaults as a revision has them, which never imports the models.

    Alembic would put CURRENT_TIMESTAMP into parentheses, which SQLite keeps in its schema.
    """
    if type_ == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    if type_ == "server_default" and isinstance(item, DefaultClause):
        return isinstance(item.arg, current_timestamp) and 'sa.text("CURRENT_TIMESTAMP")'
    return False


def _process_revision_directives(
    migration: MigrationContext,
    _revision: object,
    directives: list[MigrationScript],
    not_null: Collection[tuple[str, str]],
) -> None:
    """Number the new revision, and write none when there is nothing to do."""
    if not directives:
        return
    script = directives[0]
    assert script.upgrade_ops is not None  # noqa: S101 - Alembic always sets it
    if migration.dialect.name == "sqlite":
        _ignore_adopted_nulls(script, not_null)
    options = context.config.cmd_opts
    # Only `alembic revision` has this option; `alembic check` wants its empty script back.
    if getattr(options, "autogenerate", False) and script.upgrade_ops.is_empty():
        directives.clear()
    elif getattr(options, "rev_id", None) is None:
        head = context.script.get_current_head()
        if head is not None and not head.isdecimal():
            raise MigrationRefused(
                f"the newest revision is {head}, which is not a number to count on from; nothing "
                "was written. Give the new one an id with --rev-id"
            )
        script.rev_id = f"{int(head or 0) + 1:04}"


def _ignore_adopted_nulls(script: MigrationScript, not_null: Collection[tuple[str, str]]) -> None:
    """Forget that columns are nullable which are so in databases that are adopted as they are.

    `id INTEGER PRIMARY KEY` is nullable on paper: SQLite never stores a NULL there. And a file that
    was made by hand may lack the NOT NULL of a column. Both are not mended: that would rebuild the
    table.

    Alembic compares nullability without asking any hook.
    """
    for operations in (*script.upgrade_ops_list, *script.downgrade_ops_list):
        for table in [op for op in operations.ops if isinstance(op, ModifyTableOps)]:
            columns = _columns_of_model(table)
            table.ops = [
                op
                for op in table.ops
                if not (
                    isinstance(op, AlterColumnOp)
                    and (
                        columns[op.column_name].primary_key
                        or (
                            op.modify_nullable is False
                            and (table.table_name, op.column_name) in not_null
                        )
                    )
                    and not op.modify_type
                    and op.modify_nullable is not None
                )
            ]
            if table.is_empty():
                operations.ops.remove(table)


def _columns_of_model(table: ModifyTableOps) -> dict[str, Column[Any]]:
    """Return the models' columns of the table that `table` changes, by name."""
    metadata = context.get_context().opts["target_metadata"]
    return {column.name: column for column in metadata.tables[table.table_name].columns}
