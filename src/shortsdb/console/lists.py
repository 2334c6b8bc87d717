"""Read a list: its filters, search, order and page, from the parameters of an address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sqlalchemy import Integer, func, literal, or_, select, tuple_
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Row, Select
    from sqlalchemy.orm import Session

    from shortsdb.console.tables import Field, View

PAGE_ROWS = 50
"""Rows of a page."""

BEGINNING = 120
"""Characters of a text that a list shows."""

SEARCH_LENGTH = 200
"""Characters that are searched for at most: SQLite compares each with every place of a text."""

_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class ListQuery:
    """Which rows of a table a list shows.

    A page begins after or ends before a row, which an index finds at once. Its number and the
    number of all pages would take a full count.

    Attributes:
        view: The table.
        filters: The wanted values by column, as in the address.
        search: The text to look for, or an empty string.
        sort: The column that the rows are sorted by, one of `View.sorts`.
        descending: Whether the order is reversed.
        after: The primary key of the last row of the page before this one, or None.
        before: The primary key of the first row of the page after this one, or None.
    """

    view: View
    filters: Mapping[str, str]
    search: str
    sort: str
    descending: bool
    after: str | None = None
    before: str | None = None

    @classmethod
    def parse(cls, view: View, parameters: Mapping[str, str]) -> ListQuery:
        """Return what the parameters of an address ask for.

        Raises:
            HTTPException: A parameter has a value that cannot be meant.
        """
        filters = {
            field.key: parameters[field.key]
            for field in view.fields.values()
            if field.is_filter and parameters.get(field.key)
        }
        default = f"-{view.key.key}" if view.key.kind == "number" else view.key.key
        sort = parameters.get("sort") or default
        if sort.removeprefix("-") not in view.sorts:
            raise HTTPException(400, f"{view.plural} cannot be sorted by {sort}")
        search = parameters.get("q", "").strip()
        if len(search) > SEARCH_LENGTH:
            raise HTTPException(400, f"a search takes up to {SEARCH_LENGTH} characters")
        query = cls(
            view=view,
            filters=filters,
            search=search,
            sort=sort.removeprefix("-"),
            descending=sort.startswith("-"),
            after=parameters.get("after") or None,
            before=parameters.get("before") or None,
        )
        query.select(view.key.column, rows=0)  # refuses values that are not of their column
        return query

    def address(self, **changes: Any) -> str:  # noqa: ANN401 - the attributes
        """Return the parameters of this list, or of one that differs from it in some attributes."""
        query = replace(self, **changes)
        parameters = {
            **query.filters,
            "q": query.search,
            "sort": f"{'-' if query.descending else ''}{query.sort}",
            "after": query.after,
            "before": query.before,
        }
        return "?" + urlencode({name: value for name, value in parameters.items() if value})

    def select(self, *columns: ColumnElement[Any], rows: int) -> Select[Any]:
        """Return the statement for so many rows, and for one more if there is one."""
        key = self.view.key.column
        order = self.view.sorts[self.sort]
        backwards = self.before is not None
        descending = self.descending != backwards
        statement = select(*columns).where(*self._conditions())
        given = self.before or self.after
        if given is not None:
            # Read the values from the row itself: as parameters, times might be written otherwise.
            row = key.table.alias()
            last = literal(key_value(self.view, given), key.type)
            position = [
                select(row.c[column.key]).where(row.c[key.key] == last).scalar_subquery()
                for column in order[:-1]
            ]
            here, there = tuple_(*order), tuple_(*position, last)
            statement = statement.where(here < there if descending else here > there)
        return statement.order_by(
            *(column.desc() if descending else column.asc() for column in order)
        ).limit(rows + 1)

    def _conditions(self) -> list[ColumnElement[bool]]:
        fields = self.view.fields
        conditions = [_equal(fields[name], value) for name, value in self.filters.items()]
        if self.search:
            conditions.append(
                or_(
                    *(
                        # An index finds a whole value and no part of it.
                        field.column == self.search
                        if field.is_filter
                        else field.column.icontains(self.search, autoescape=True)
                        for field in self.view.searched
                    )
                )
            )
        return conditions


@dataclass(frozen=True)
class Page:
    """A page of a list.

    Attributes:
        query: Which rows it shows.
        rows: The rows.
        previous: The address of the page before it, None for the first.
        next: The address of the page after it, None for the last.
    """

    query: ListQuery
    rows: Sequence[Row[Any]]
    previous: str | None
    next: str | None


def read_page(session: Session, query: ListQuery, order: Field | None = None) -> Page:
    """Return a page of a list, long texts cut to their beginnings.

    Args:
        session: Where to read.
        query: Which rows.
        order: A column to sort by for which there is no index, because the filter leaves few rows.
    """
    view = query.view
    columns: list[ColumnElement[Any]] = [
        # One character more says that the text continues.
        func.substr(field.column, 1, BEGINNING + 1).label(field.key)
        if field.is_long
        else field.stored
        for field in view.fields.values()
    ]
    statement = query.select(*columns, rows=PAGE_ROWS)
    if order is not None:
        statement = statement.order_by(None).order_by(order.column, view.key.column)
    found = session.execute(statement).all()
    if not found:
        _refuse_deleted(session, query)
    more, rows = len(found) > PAGE_ROWS, list(found[:PAGE_ROWS])
    if query.before is not None:
        rows.reverse()
    has_previous = more if query.before is not None else query.after is not None
    has_next = True if query.before is not None else more
    return Page(
        query,
        rows,
        query.address(before=rows[0][0], after=None) if rows and has_previous else None,
        query.address(after=rows[-1][0], before=None) if rows and has_next else None,
    )


def _refuse_deleted(session: Session, query: ListQuery) -> None:
    """Refuse a page next to a row that is not there, unless its key is its place in the order."""
    key, given = query.view.key.column, query.before or query.after
    if given is None or query.sort == key.key:
        return
    if session.scalar(select(key).where(key == key_value(query.view, given))) is None:
        raise HTTPException(
            404,
            f"{query.view.plural}: row {given} has been deleted, so the page next to it cannot be "
            "found; go to the first page of the list",
        )


def read_row(session: Session, view: View, key: str) -> Row[Any]:
    """Return a row by the text of its primary key.

    Raises:
        HTTPException: There is no such row.
    """
    wanted = view.key.column == key_value(view, key)
    row = session.execute(select(*view.stored).where(wanted)).one_or_none()
    if row is None:
        raise HTTPException(404, f"{view.plural}: there is no row {key}")
    return row


def key_value(view: View, given: str) -> Any:  # noqa: ANN401 - of the column's type
    """Return the primary key that a text in an address means.

    Raises:
        HTTPException: It cannot be one.
    """
    return _value(view.key, given)


def _value(field: Field, given: str) -> Any:  # noqa: ANN401 - of the column's type
    if not isinstance(field.column.type, Integer):
        return given
    try:
        number = int(given)
    except ValueError:
        number = _LARGEST + 1
    if not -_LARGEST <= number <= _LARGEST:
        raise HTTPException(400, f"{given!r} is not a value of {field.label}")
    return number


def _equal(field: Field, given: str) -> ColumnElement[bool]:
    if field.kind != "time":
        wanted: ColumnElement[bool] = field.column == _value(field, given)
        return wanted
    return field.column.is_(None) if given == "null" else field.column.is_not(None)
