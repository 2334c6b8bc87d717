"""The error of an operation that was refused for a reason which the operator can act on."""

from shortsdb.printable import printable


class OperationRefused(Exception):  # noqa: N818 - a refusal is not an error of the program
    """The database was not changed; the message says what is wrong, where and what to do.

    The message is safe to print, even if it contains names or errors from elsewhere.

    Attributes:
        message: The message, one line.
        details: Further lines.
    """

    def __init__(self, message: str, *details: str) -> None:
        """Make the message and each of `details` printable, on one line each."""
        self.message = printable(message)
        self.details = tuple(map(printable, details))
        super().__init__("\n  ".join((self.message, *self.details)))
