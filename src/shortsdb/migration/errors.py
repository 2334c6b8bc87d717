"""The one error of a migration that stops for a reason which the operator can act on."""

from alembic.util import CommandError


class MigrationRefused(CommandError):  # noqa: N818 - a refusal is no error of the program's
    """The database was left as it was; the message says what is wrong, where and what to do.

    A CommandError, so that the alembic program prints the message alone and exits non-zero.
    """
