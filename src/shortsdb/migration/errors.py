"""The refusal of a migration, in the form that the alembic program prints."""

from alembic.util import CommandError

from shortsdb.errors import OperationRefused


class MigrationRefused(OperationRefused, CommandError):
    """The database was left as it was; the message says what is wrong, where and what to do.

    A CommandError, so that the alembic program prints the message alone and exits non-zero.
    """
