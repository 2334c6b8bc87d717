"""Runs what the alembic program was asked for, online in one transaction or offline as a script."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alembic import command, context
from alembic.script.revision import RangeNotAncestorError, RevisionError
from alembic.util import CommandError
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError

from shortsdb import settings
from shortsdb.driver_errors import explain, left_behind
from shortsdb.log import get_logger, operation
from shortsdb.migration.autogenerate import comparison_options
from shortsdb.migration.database import create_migration_engine
from shortsdb.migration.errors import MigrationRefused, as_migration_refused
from shortsdb.migration.plan import (
    Planner,
    known_revisions,
    no_database,
    refuse_other_search_path,
    refuse_several_heads,
    runs_alone,
)
from shortsdb.migration.postgresql import PostgreSQLMigration
from shortsdb.migration.sqlite import SQLiteMigration
from shortsdb.migration.transaction import read_only_transaction, sqlite_transactions
from shortsdb.sqlite.baseline import undecodable_name
from shortsdb.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext, MigrationInfo, RevisionStep
    from sqlalchemy import MetaData

    from shortsdb.migration.preview import Preview

log = get_logger(__name__)

X_ARGUMENTS = ("url", "backup", "schema", "must-exist")
"""What the alembic program is told by -x."""


@operation()
@as_migration_refused()
def run(  # noqa: PLR0913 - one parameter for each setting of env.py
    *,
    url: str | URL,
    metadata: Callable[[], MetaData],
    baselines: Mapping[str, str],
    backup: str | None = None,
    schema: str | None = None,
    must_exist: str | bool | None = None,
) -> None:
    """Run the command of the present Alembic environment; env.py calls this and nothing else.

    Args:
        url: The database, by URL or path. Not used when the caller has put a Connection, or
            anything with `connect()`, into `config.attributes["connection"]`.
        metadata: Gives the schema as the models have it; called only where the command may compare
            with it, because importing models costs an upgrade a fifth of its time.
        baselines: The DDL script of every revision that unversioned databases are known to have.
        backup: Where backups of SQLite files go: a folder, "off", or None for `backups` beside
            the file.
        schema: The schema of a PostgreSQL database, see `Target.parse`.
        must_exist: Whether to refuse where there is no database yet, see `settings.must_exist`.

    Raises:
        MigrationRefused: The database was left as it was; the message says why.
    """
    if context.is_offline_mode():
        _print_script(Target.parse(url).url)
        return
    changes = _changes()
    creates = changes and not settings.must_exist(must_exist)
    if changes:
        refuse_several_heads(context.script)
    target, source = _open_target(url, schema, changes=changes, creates=creates)
    try:
        with _connection(source) as connection:
            if not changes:
                _run_read_only(connection, target, comparison_options(metadata(), baselines))
            elif connection.dialect.name == "sqlite":
                _migrate_sqlite(connection, target, baselines, backup, creates=creates)
            else:
                _migrate_postgresql(connection, target, baselines, creates=creates)
    # Some statements do not go through SQLAlchemy: they raise the driver's own errors.
    except (DBAPIError, source.engine.dialect.loaded_dbapi.Error) as error:
        raise MigrationRefused(
            f"{explain(error, target.name)}; {left_behind(error, 'changed')}"
        ) from error
    except UnicodeDecodeError as error:
        raise undecodable_name(target.name) from error
    except CommandError as error:
        if isinstance(error.__cause__, RangeNotAncestorError):
            # Without its name, which would be that of the rehearsal of a downgrade.
            raise MigrationRefused(
                f"the database is not past {context.get_revision_argument()}, and downgrade only "
                "goes back; nothing was changed. Look where it is, and run upgrade to go on"
            ) from error
        if isinstance(error.__cause__, RevisionError):
            known = known_revisions(context.script)
            raise MigrationRefused(
                f"{error}: this release knows {known[-1]} to {known[0]}; nothing was changed"
            ) from error
        raise


def print_sql(config: Config, preview: Preview) -> None:
    """Print the SQL of a migration, for a database as it is now.

    Args:
        config: Alembic's, with the revisions and the database, which is not connected to.
        preview: What the migration would do.
    """
    if not preview.revisions:
        return
    if preview.adopts:
        command.stamp(config, str(preview.at), sql=True)
    run = command.downgrade if preview.goes_back else command.upgrade
    run(config, f"{preview.at or 'base'}:{preview.to or 'base'}", sql=True)


def x_arguments() -> dict[str, str]:
    """Return what the alembic program was given by -x.

    Raises:
        MigrationRefused: One of them is not known; its value, which may hold a password, is not
            repeated.
    """
    given: dict[str, str] = context.get_x_argument(as_dictionary=True)
    for name in given:
        if name not in X_ARGUMENTS:
            shown = name if re.fullmatch(r"[\w-]+", name) else "what was given"
            raise MigrationRefused(
                f"-x knows {', '.join(f'{known}=…' for known in X_ARGUMENTS)}, and not {shown}"
            )
    return given


def _changes() -> bool:
    """Return whether the command changes the database: only upgrade, downgrade and stamp do.

    Those have a destination; current, check, history and revision have none.
    """
    try:
        context.get_revision_argument()
    except KeyError:
        return False
    return True


def _open_target(
    url: str | URL, schema: str | None, *, changes: bool, creates: bool
) -> tuple[Target, Any]:
    """Return the database of the command, and what to connect to it by: a caller's, or ours."""
    handed_in = context.config.attributes.get("connection")
    if handed_in is not None:
        # Both an engine and a connection know their engine.
        return Target.of(handed_in.engine.url).in_schema(schema), handed_in
    target = Target.parse(url, schema)
    if changes:
        target.refuse_in_memory()
    engine = create_migration_engine(target, changes=changes)  # refuses a path it cannot look at
    if changes and target.file is not None and not target.file.exists():
        if not creates:
            raise no_database(target)
        if _command_of_the_program() in {"downgrade", "stamp"}:
            raise MigrationRefused(f"{target} does not exist; nothing was created")
    return target, engine


def _command_of_the_program() -> str | None:
    """Return what the alembic program was told to do; None for a caller of its functions."""
    command_of = getattr(context.config.cmd_opts, "cmd", None)
    return command_of[0].__name__ if command_of else None


@contextmanager
def _connection(source: Any) -> Iterator[Connection]:  # noqa: ANN401 - anything with connect()
    if isinstance(source, Connection):
        yield source  # its owner closes it
    else:
        with source.connect() as connection:
            if connection.dialect.name == "postgresql" and not connection.in_transaction():
                # Else what others committed while this one waited for its turn would not be seen.
                connection.execution_options(isolation_level="READ COMMITTED")
            yield connection


def _run_read_only(connection: Connection, target: Target, options: dict[str, Any]) -> None:
    """Run a command that changes nothing."""
    # The transaction is begun before context.configure, so that Alembic leaves its end to us.
    with read_only_transaction(connection):
        refuse_other_search_path(connection, target)
        # dont_mutate: else `check` and `revision` would create the version table.
        context.configure(connection=connection, dont_mutate=True, **options)
        context.run_migrations()


def _migrate_sqlite(
    connection: Connection,
    target: Target,
    baselines: Mapping[str, str],
    backup: str | None,
    *,
    creates: bool,
) -> None:
    with sqlite_transactions(connection, changes=True) as begins:
        # Alembic itself holds SQLite incapable of DDL in transactions.
        context.configure(
            connection=connection, transactional_ddl=True, on_version_apply=_report_step
        )
        planner = Planner(context.get_context(), target, baselines, creates=creates)
        before, after = SQLiteMigration(connection, planner, backup).run(begins=begins)
    _report(target, before, after)


def _migrate_postgresql(
    connection: Connection, target: Target, baselines: Mapping[str, str], *, creates: bool
) -> None:
    context.configure(connection=connection, on_version_apply=_report_step)
    planner = Planner(context.get_context(), target, baselines, creates=creates)
    migration = PostgreSQLMigration(connection, planner)
    before, after = migration.run()
    _report(target, before, after, in_one_transaction=migration.in_one_transaction)


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


def _report(
    target: Target,
    before: tuple[str, ...],
    after: tuple[str, ...],
    *,
    in_one_transaction: bool = True,
) -> None:
    there = ", ".join(after) or "base"
    if before != after:
        came_from = ", ".join(before) or "no version"
        how = "in one transaction" if in_one_transaction else "step by step"
        log.info("%s is now at %s (it had %s), %s", target, there, came_from, how)
        return
    # head, heads and relative revisions come as they were given, and are never past.
    asked = context.get_revision_argument()
    if asked in set(known_revisions(context.script)).difference(after):
        log.info(
            "%s is at %s already, which is past %s: nothing to do; downgrade goes back",
            *(target, there, asked),
        )
    else:
        log.info("%s is at %s already: nothing to do", target, there)


def _print_script(url: URL) -> None:
    def configure(**options: Any) -> None:  # noqa: ANN401 - Alembic's
        # By the dialect's name, not by the URL: that has a password, and needs its driver.
        context.configure(
            dialect_name=url.get_backend_name(),
            literal_binds=True,
            dialect_opts={"paramstyle": "named"},
            transactional_ddl=True,
            **options,
        )

    configure()
    if url.get_backend_name() == "postgresql":
        configure(fn=_between_transactions(context.get_context().opts["fn"]))
    with context.begin_transaction():
        context.run_migrations()


def _between_transactions(
    plan: Callable[..., Iterable[RevisionStep]],
) -> Callable[..., Iterator[RevisionStep]]:
    """Have a script commit before each revision that cannot run in a transaction."""

    def steps(heads: Any, migration: MigrationContext) -> Iterator[RevisionStep]:  # noqa: ANN401 - Alembic's
        for step in plan(heads, migration):
            revision = None if step.info.is_stamp else step.info.up_revision_id
            alone = revision is not None and runs_alone(context.script, revision)
            if alone:
                migration.impl.emit_commit()
            yield step
            if alone:
                migration.impl.emit_begin()

    return steps
