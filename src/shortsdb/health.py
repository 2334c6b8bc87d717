"""Health: is this database reachable, current and sound?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from shortsdb import url
from shortsdb.engine import READ_ONLY_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine


@dataclass(frozen=True)
class Health:
    """What was found of a database.

    Attributes:
        revision: The revision it is at; None if it has none or could not be read.
        problems: What is wrong, one sentence each.
    """

    revision: str | None
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check_db_health(engine: Engine) -> Health:
    """Look whether a database can be read, has the schema of this release, and is sound.

    Changes no row and creates no file; like every connection of `shortsdb.engine` it sets the file
    to WAL mode. On SQLite it reads the whole file (`quick_check` and
    `foreign_key_check`), seconds for some hundred megabytes, and no writer waits for it.
    """
    # Connecting would create the file.
    file = url.file(engine.url)
    if file is not None and not file.exists():
        return Health(None, (f"there is no file {file}",))
    try:
        with engine.execution_options(**READ_ONLY_OPTIONS).connect() as connection:
            return _examine(connection)
    except SQLAlchemyError as error:
        return Health(None, (f"it cannot be read: {getattr(error, 'orig', None) or error}",))


def _examine(connection: Connection) -> Health:
    # Half a second that an application which asks for no health need not wait for.
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    from shortsdb.config import alembic_config  # noqa: PLC0415

    problems = []
    versions = MigrationContext.configure(connection).get_current_heads()
    revision = ", ".join(sorted(map(str, versions))) or None
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if revision != head:
        problems.append(
            f"it is at revision {revision}, this release has {head}: upgrade the older of the two"
        )
    if connection.dialect.name == "sqlite":
        problems += _damage(connection)
    return Health(revision, tuple(problems))


def _damage(connection: Connection) -> Iterator[str]:
    from shortsdb.migration.status import broken_keys  # noqa: PLC0415 - as above

    for message in connection.exec_driver_sql("PRAGMA quick_check").scalars():
        if message != "ok":
            yield f"the file is damaged: {message}"
    for key in broken_keys(connection):
        yield (
            f"{key.rows} rows of {key.table} point to rows of {key.referred_table} that are not "
            "there"
        )
