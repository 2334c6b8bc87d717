"""The error of a refused migration, which the alembic program prints."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from alembic.util import CommandError

from shortsdb.errors import OperationRefused

if TYPE_CHECKING:
    from collections.abc import Iterator


class MigrationRefused(OperationRefused, CommandError):  # noqa: N818 - as OperationRefused
    """The database was not changed; the message says what is wrong, where and what to do.

    A CommandError, so that the alembic program prints the message alone and exits non-zero.
    """


@contextmanager
def as_migration_refused() -> Iterator[None]:
    """Raise every refusal of the block as a MigrationRefused."""
    try:
        yield
    except MigrationRefused:
        raise
    except OperationRefused as refusal:
        raise MigrationRefused(refusal.message, *refusal.details) from refusal
