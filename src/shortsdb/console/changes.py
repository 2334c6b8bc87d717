"""The changes that the console can make, each by a helper of `shortsdb.database`."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from shortsdb.console.lists import read_row
from shortsdb.console.tables import views
from shortsdb.database import delete_override, resolve_error, set_override
from shortsdb.engine.transactions import TrackedConnection, take_write_lock
from shortsdb.extras import extra

with extra("console", "starlette"):
    from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Row
    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Change:
    """A change.

    Attributes:
        name: Its name in addresses.
        title: What its page is called.
        button: What the button says that makes it.
        consequence: What it does, for the question.
        table: The table that it changes.
        fields: The columns whose values it needs, the primary key first.
        adds_rows: Whether it may add the row.
        apply: Makes it in a session, from the values and who wants it.
    """

    name: str
    title: str
    button: str
    consequence: str
    table: str
    fields: Sequence[str]
    adds_rows: bool
    apply: Callable[[Session, Mapping[str, str], str], object]

    def make(self, session: Session, values: Mapping[str, str], seen: str, who: str) -> bool:
        """Make the change, and return True; return False if the row is not as it was seen.

        Args:
            session: The session, which is committed.
            values: The values of `fields`.
            seen: The `fingerprint` of the row that the reader was shown.
            who: Who makes it.

        Raises:
            HTTPException: A value is missing, or there is no such row.
        """
        connection = session.connection()
        if isinstance(connection, TrackedConnection):  # the engine is one of shortsdb
            take_write_lock(connection)  # so that the row stays as it is compared
        if seen != fingerprint(self.row(session, values)):
            return False
        try:
            self.apply(session, values, who)
        except ValueError as error:
            raise HTTPException(400, f"nothing was changed: {error}") from error
        return True

    def row(self, session: Session, values: Mapping[str, str]) -> Row[Any] | None:
        """Return the row that is changed; None if it is to be added.

        Raises:
            HTTPException: There is no such row.
        """
        try:
            return read_row(session, views()[self.table], values.get(self.fields[0], ""))
        except HTTPException:
            if self.adds_rows:
                return None
            raise

    def address(self, values: Mapping[str, str]) -> str:
        """Return the page that shows what was changed."""
        if self.name == "delete-override":
            return f"/tables/{self.table}"
        key = values[self.fields[0]]
        return f"/tables/{self.table}/row?{urlencode({'key': key})}"


def fingerprint(row: Row[Any] | None) -> str:
    """Return a text that differs for any other content of a row, without showing it."""
    return sha256(repr(row).encode()).hexdigest()


CHANGES = {
    change.name: change
    for change in (
        Change(
            name="resolve-error",
            title="Mark an error as resolved",
            button="Mark as resolved",
            consequence="The error is no longer counted on the first page.",
            table="error_logs",
            fields=("id",),
            adds_rows=False,
            apply=lambda session, values, _who: resolve_error(session, int(values["id"])),
        ),
        Change(
            name="set-override",
            title="Set a config override",
            button="Set the override",
            consequence="The pipeline uses this value instead of the deployed one.",
            table="config_overrides",
            fields=("key", "value"),
            adds_rows=True,
            apply=lambda session, values, who: set_override(
                session, values["key"], values["value"], updated_by=who
            ),
        ),
        Change(
            name="delete-override",
            title="Delete a config override",
            button="Delete the override",
            consequence="The pipeline uses the deployed value again.",
            table="config_overrides",
            fields=("key",),
            adds_rows=False,
            apply=lambda session, values, _who: delete_override(session, values["key"]),
        ),
    )
}
"""The changes by name."""
