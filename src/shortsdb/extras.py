"""Says which extra to install where a module of one is missing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def extra(name: str, *modules: str) -> Iterator[None]:
    """Let an import inside say what to install if it fails.

    Args:
        name: The extra.
        modules: The top-level modules that it installs.

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
