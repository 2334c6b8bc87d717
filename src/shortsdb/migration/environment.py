"""Runs what the alembic program was asked for, online in one transaction or offline as a script."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alembic import context
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError

from shortsdb.migration.adopt import adopt
from shortsdb.migration.database import connectable, display_name, parse
from shortsdb.migration.drift import comparison_options
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.transaction import sqlite_transactions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from alembic.runtime.migration import MigrationContext, MigrationInfo
    from sqlalchemy import MetaData

log = logging.getLogger(__name__)


def run(*, url: str | URL, metadata: MetaData, shapes: Mapping[str, str]) -> None:
    """Run the command of the present Alembic environment; env.py calls this and nothing else.

    Args:
        url: The database, by URL or path. Not used when the caller has put a Connection, or
            anything with `connect()`, into `config.attributes["connection"]`.
        metadata: The schema as the models have it.
        shapes: The DDL script of every revision that unversioned databases are known to have.

    Raises:
        MigrationRefused: The database was left as it was; the message says why.
    """
    options = comparison_options(metadata, shapes)
    if context.is_offline_mode():
        _print_script(parse(url), options)
        return
    changes = _changes()
    # Both an engine and a connection know their engine.
    handed_in = context.config.attributes.get("connection")
    source = connectable(parse(url), changes=changes) if handed_in is None else handed_in
    name = display_name(source.engine.url)
    try:
        with _connection(source) as connection:
            _run_online(connection, name, shapes, options, changes=changes)
    except DBAPIError as error:
        statement = f" ({error.statement.strip().splitlines()[0]})" if error.statement else ""
        raise MigrationRefused(f"{name}: {error.orig}{statement}; nothing was changed") from error


def _changes() -> bool:
    """Return whether the command changes the database: only upgrade, downgrade and stamp do.

    Those have a destination; current, check, history and revision have none.
    """
    try:
        context.get_revision_argument()
    except KeyError:
        return False
    return True


@contextmanager
def _connection(source: Any) -> Iterator[Connection]:  # noqa: ANN401 - anything with connect()
    if isinstance(source, Connection):
        yield source  # its owner closes it
    else:
        with source.connect() as connection:
            yield connection


def _run_online(
    connection: Connection,
    name: str,
    shapes: Mapping[str, str],
    options: dict[str, Any],
    *,
    changes: bool,
) -> None:
    if connection.dialect.name != "sqlite":
        _run_in_transaction(connection, name, None, options, changes=changes)
        return
    with sqlite_transactions(connection, changes=changes):
        _run_in_transaction(connection, name, shapes, options, changes=changes)


def _run_in_transaction(
    connection: Connection,
    name: str,
    shapes: Mapping[str, str] | None,
    options: dict[str, Any],
    *,
    changes: bool,
) -> None:
    if not changes:
        # Else `check` and `revision` would create the version table.
        options |= {"dont_mutate": True}
    context.configure(
        connection=connection, transactional_ddl=True, on_version_apply=_report_step, **options
    )
    migration = context.get_context()
    with context.begin_transaction():
        before = migration.get_current_heads()
        if changes and shapes is not None:
            adopt(migration, context.script, shapes, name)
        context.run_migrations()
        after = migration.get_current_heads()
    if changes:
        _report(name, before, after)


def _report_step(
    ctx: MigrationContext,  # noqa: ARG001 - Alembic's signature
    step: MigrationInfo,
    heads: Collection[Any],  # noqa: ARG001 - as above
    run_args: Mapping[str, Any],  # noqa: ARG001 - as above
) -> None:
    if step.is_stamp or step.up_revision_id is None:
        return
    direction = "upgrade" if step.is_upgrade else "downgrade"
    script = context.script.get_revision(step.up_revision_id)
    log.info("%s %s: %s", direction, step.up_revision_id, script.doc)


def _report(name: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    there = ", ".join(after) or "base"
    if before == after:
        log.info("%s is at %s already: nothing to do", name, there)
    else:
        came_from = ", ".join(before) or "no version"
        log.info("%s is now at %s (it had %s), in one transaction", name, there, came_from)


def _print_script(url: URL, options: dict[str, Any]) -> None:
    # Alembic makes the same options of a dialect's name; the URL, with its password, stays here.
    context.configure(
        dialect_name=url.get_backend_name(),
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        transactional_ddl=True,
        **options,
    )
    with context.begin_transaction():
        context.run_migrations()
