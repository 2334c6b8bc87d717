"""Report which extra to install if one of its modules is missing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def extra(name: str, *modules: str) -> Iterator[None]:
    """Make a failing import in the block report what to install.

    Args:
        name: The extra.
        modules: The top-level modules that the extra installs.

    Raises:
        ModuleNotFoundError: One of `modules` is missing. The message names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in modules:
            raise
        raise ModuleNotFoundError(
            f"{error.name} is not installed; it comes with pip install 'shortsdb[{name}]'",
            name=error.name,
        ) from error
