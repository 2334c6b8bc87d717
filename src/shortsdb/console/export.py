"""Export the rows of a list as CSV or JSON, in pieces."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy.orm import Session

    from shortsdb.console.lists import ListQuery
    from shortsdb.models import Base

_PIECE = 1_000

# A spreadsheet takes a cell that begins with one of these as a formula:
# https://owasp.org/www-community/attacks/CSV_Injection.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Reading = "Callable[[], AbstractContextManager[Session]]"


def csv_lines(
    reading: Callable[[], AbstractContextManager[Session]], query: ListQuery
) -> Iterator[str]:
    """Yield all rows of a list as CSV; texts that a spreadsheet would compute get an apostrophe."""
    keys = list(query.view.fields)
    yield _csv([keys])
    for rows in _pieces(reading, query):
        values = [row.to_dict(mode="json") for row in rows]
        yield _csv([[_cell(value[key]) for key in keys] for value in values])


def json_lines(
    reading: Callable[[], AbstractContextManager[Session]], query: ListQuery
) -> Iterator[str]:
    """Yield all rows of a list as a JSON array with an object on each line."""
    before = "["
    for rows in _pieces(reading, query):
        for row in rows:
            yield f"{before}\n{json.dumps(row.to_dict(mode='json'), allow_nan=False)}"
            before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _pieces(
    reading: Callable[[], AbstractContextManager[Session]], query: ListQuery
) -> Iterator[Sequence[Base]]:
    """Yield the rows from the beginning of a list, each piece from a session of its own.

    A slow client must not keep a transaction open: the -wal would grow, or writers would wait.
    """
    query = replace(query, after=None, before=None)
    key = query.view.key.key
    while True:
        with reading() as session:
            statement = query.select(query.view.key.column, rows=_PIECE - 1)
            keys = session.scalars(statement).all()
            model = query.view.model
            found = session.scalars(select(model).where(query.view.key.column.in_(keys))).all()
            by_key = {getattr(row, key): row for row in found}
            yield [by_key[value] for value in keys]
        if len(keys) < _PIECE:
            return
        query = replace(query, after=str(keys[-1]))


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
