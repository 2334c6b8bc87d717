"""The error of an operation that stops for a reason which the operator can act on."""


class OperationRefused(Exception):  # noqa: N818 - a refusal is not an error of the program
    """The database was left as it was; the message says what is wrong, where and what to do."""
