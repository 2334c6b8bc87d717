"""The one error of a migration that stops for a reason which the operator can act on."""

from alembic.util import CommandError

from shortsdb.printable import printable


class MigrationRefused(CommandError):  # noqa: N818 - a refusal is no error of the program's
    """The database was left as it was; the message says what is wrong, where and what to do.

    A CommandError, so that the alembic program prints the message alone and exits non-zero. The
    message is made safe to print, whatever names and errors it was put together from.
    """

    def __init__(self, message: str, *details: str) -> None:
        """Refuse with a message, which becomes one line, and a line for each of `details`."""
        super().__init__("\n  ".join(map(printable, (message, *details))))
