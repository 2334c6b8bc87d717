"""Says what a migration would do, by doing the same to an empty database in memory."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from shortsdb import settings
from shortsdb.log import quiet
from shortsdb.migration.baselines import BASELINES
from shortsdb.migration.database import read_only_connection
from shortsdb.migration.errors import MigrationRefused
from shortsdb.migration.plan import (
    known_revisions,
    no_database,
    refuse_strange_version,
    refuse_unversioned,
    would_drop,
)
from shortsdb.migration.status import read_status
from shortsdb.sqlite.backup_files import folder_for, refuse_missing_folder
from shortsdb.sqlite.file_checks import existing, refuse_unusable_file
from shortsdb.sqlite.open_files import open_by
from shortsdb.sqlite.rows import holds_rows
from shortsdb.sqlite.schema import schema_of_script, table_names
from shortsdb.sqlite.version import BOOKKEEPING, VERSION_TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.config import Config
    from sqlalchemy import Connection

    from shortsdb.target import Target


@dataclass(frozen=True)
class TableEffect:
    """What becomes of a table.

    Attributes:
        table: Its name.
        effect: "created", "dropped", "rebuilt" (all rows are copied) or "altered" (in place).
        rows: How many rows it holds now, None if it is created.
        size_bytes: How large it is with its indexes; None if that cannot be told.
    """

    table: str
    effect: str
    rows: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class Preview:
    """What a migration would do.

    Attributes:
        database: What to call the database.
        at: The revision now, None for a new database.
        adopts: Whether it has no version yet, and was recognised by its tables.
        to: The revision afterwards, None for none.
        revisions: What is run, each with its summary, in that order.
        tables: What becomes of tables.
        changes_rows: The tables whose rows are changed, with the reason, as the revisions say.
        backup_folder: Where the backup goes; None for none.
        backup_bytes: How large it becomes; None for none.
        backup_free_bytes: What is free there now.
        open_by: Other programs that have the file open; None if that cannot be seen.
    """

    database: str
    at: str | None
    adopts: bool
    to: str | None
    revisions: dict[str, str]
    tables: list[TableEffect]
    changes_rows: dict[str, str]
    backup_folder: str | None
    backup_bytes: int | None
    backup_free_bytes: int | None
    open_by: list[str] | None

    @property
    def goes_back(self) -> bool:
        """Whether it is a downgrade."""
        return self.at is not None and (self.to is None or self.to < self.at)


def is_downgrade(revision: str, at: str | None, known: Sequence[str]) -> bool:
    """Return whether to go to `revision` from the revision `at` is a downgrade."""
    if revision.startswith("-") or revision == "base":
        return True
    return revision in known and at is not None and revision < at


def preview_migration(
    target: Target,
    config: Config,
    revision: str,
    backup: str | None = None,
    *,
    back: bool | None = None,
) -> Preview:
    """Return what a migration would do, without changing anything.

    Args:
        target: The database.
        config: Alembic's, with the revisions; a connection is put into its attributes.
        revision: Where to.
        backup: Where backups go, see `backup_files.folder_for`.
        back: Whether it is a downgrade; None for what the revision says.

    Raises:
        MigrationRefused: The migration would be refused for what is in the database.
        OperationRefused: The database cannot be read.
    """
    status = read_status(target, "off")
    script = ScriptDirectory.from_config(config)
    if status.misfit:
        raise MigrationRefused(status.misfit)
    if status.exists is False and target.file is not None:
        refuse_unusable_file(target.file, changes=True)
        if settings.must_exist():
            raise no_database(target)
    ids = known_revisions(script)[::-1]
    heads = (status.revision,) if status.revision else ()
    refuse_strange_version(heads, script, target)
    at = status.revision or status.shape
    if back is None:
        back = is_downgrade(revision, at, ids)
    if back:
        refuse_unversioned(heads, target)
    before, after, to = _rehearse(config, at, revision, back=back)
    low, high = sorted((0 if one is None else ids.index(one) + 1) for one in (at, to))
    run = ids[low:high][:: -1 if back else 1]
    scripts = {one: script.get_revision(one) for one in run}
    file = target.file
    with read_only_connection(target) as connection:
        tables = _effects(connection, before, after)
        database = connection.connection
        backed_up = bool(run and file) and holds_rows(
            database, set(table_names(database)) - BOOKKEEPING
        )
    ours = schema_of_script(BASELINES[ids[0]])
    if to is None and (held := [one.table for one in tables if one.rows and one.table in ours]):
        raise would_drop(ids[0], held)
    folder = folder_for(file, backup) if file and backed_up else None
    if file and folder:
        refuse_missing_folder(folder, file)
    free = shutil.disk_usage(existing(folder)).free if folder else None
    return Preview(
        database=target.name,
        at=at,
        adopts=at is not None and not heads,
        to=to,
        revisions={one: found.doc for one, found in scripts.items()},
        tables=tables,
        changes_rows={
            table: reason
            for found in scripts.values()
            for table, reason in getattr(found.module, "changes_rows", {}).items()
        },
        backup_folder=str(folder) if folder else None,
        backup_bytes=status.size_bytes if folder else None,
        backup_free_bytes=free,
        open_by=open_by(file) if file else None,
    )


_Tables = dict[str, tuple[int, str]]


def _rehearse(
    config: Config, at: str | None, revision: str, *, back: bool
) -> tuple[_Tables, _Tables, str | None]:
    """Return the tables before and after, each with its root page and DDL, and the revision."""
    engine = create_engine("sqlite://", poolclass=NullPool)
    try:
        with quiet(__package__, logging.WARNING), engine.connect() as memory:
            config.attributes["connection"] = memory
            if at is not None:
                command.upgrade(config, at)
            before = _tables(memory)
            memory.rollback()
            (command.downgrade if back else command.upgrade)(config, revision)
            after = _tables(memory)
            version = memory.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
            return before, after, version
    finally:
        del config.attributes["connection"]


def _tables(memory: Connection) -> _Tables:
    found = memory.exec_driver_sql(
        "SELECT name, rootpage, sql FROM sqlite_master WHERE type = 'table'"
    )
    return {
        name: (root, sql)
        for name, root, sql in found
        if name not in BOOKKEEPING and not name.startswith("sqlite_")
    }


def _effects(connection: Connection, before: _Tables, after: _Tables) -> list[TableEffect]:
    effects = [TableEffect(table, "created") for table in sorted(after.keys() - before.keys())]
    for table, (root, sql) in sorted(before.items()):
        if table not in after:
            effect = "dropped"
        elif after[table] == (root, sql):
            continue
        # PostgreSQL alters in place what SQLite rebuilds.
        elif after[table][0] != root and connection.dialect.name == "sqlite":
            effect = "rebuilt"
        else:
            effect = "altered"
        effects.append(
            TableEffect(table, effect, _rows(connection, table), _size(connection, table))
        )
    return effects


def _rows(connection: Connection, table: str) -> int:
    quoted = connection.dialect.identifier_preparer.quote_identifier(table)
    return int(_scalar(connection, f"SELECT count(*) FROM {quoted}"))  # noqa: S608 - quoted


def _size(connection: Connection, table: str) -> int | None:
    if connection.dialect.name != "sqlite":
        sql = "SELECT pg_total_relation_size(to_regclass(:table))"
    else:
        sql = (
            "SELECT sum(pgsize) FROM sqlite_master m JOIN dbstat s ON s.name = m.name"
            " WHERE m.tbl_name = :table AND s.aggregate = 1"
        )
    try:
        size = _scalar(connection, sql, table)
    except DBAPIError:  # SQLite need not be built with it
        return None
    return None if size is None else int(size)


def _scalar(connection: Connection, sql: str, table: str | None = None) -> Any:  # noqa: ANN401 - a value
    parameters = {} if table is None else {"table": table}
    return connection.scalar(text(sql), parameters)
