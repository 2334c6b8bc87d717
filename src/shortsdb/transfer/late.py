"""Says what was written to the source of a copy while it ran, and is not in the copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def late_changes(
    copied: Mapping[str, int], now: Mapping[str, int], *, written_to: bool
) -> str | None:
    """Return what the copy lacks, in words; None if nothing is known to have changed.

    Args:
        copied: How many rows each table had when it was read, those left out included.
        now: How many rows it has now; a source of an older revision does not have all tables.
        written_to: Whether somebody is known to have written to the source meanwhile. Changes that
            leave the number of rows as it is are only known by this.
    """
    differences = {
        table: now[table] - rows
        for table, rows in copied.items()
        if table in now and now[table] != rows
    }
    if differences:
        each = ", ".join(f"{table} {rows:+,} rows" for table, rows in differences.items())
        return f"was written to while it was copied, and the copy is without that: {each}"
    if written_to:
        return (
            "was written to while it was copied, and the copy may be without that; the number of "
            "rows is the same"
        )
    return None
