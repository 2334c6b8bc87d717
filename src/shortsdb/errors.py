"""The error of an operation that stops for a reason which the operator can act on."""

from shortsdb.printable import printable


class OperationRefused(Exception):  # noqa: N818 - a refusal is not an error of the program
    """The database was left as it was; the message says what is wrong, where and what to do.

    The message is safe to print, whatever names and errors it was put together from.

    Attributes:
        message: The message, one line.
        details: Further lines.
    """

    def __init__(self, message: str, *details: str) -> None:
        """Refuse with a message, which becomes one line, and a line for each of `details`."""
        self.message = printable(message)
        self.details = tuple(map(printable, details))
        super().__init__("\n  ".join((self.message, *self.details)))
