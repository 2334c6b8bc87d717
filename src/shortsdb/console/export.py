"""Export the rows of a list as CSV or JSON, in pieces."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from shortsdb.models.base import json_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy.orm import Session

    from shortsdb.console.lists import ListQuery

    Reading = Callable[[], AbstractContextManager[Session]]

# Rows of a table that are read at once, without and with long texts.
_PIECE = 1_000
_LONG_PIECE = 20

# A spreadsheet takes a cell that begins with one of these as a formula:
# https://owasp.org/www-community/attacks/CSV_Injection.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(reading: Reading, query: ListQuery) -> Iterator[str]:
    """Yield all rows of a list as CSV; texts that a spreadsheet would compute get an apostrophe."""
    yield _csv(query.view.fields)
    for row in _rows(reading, query):
        yield _csv(map(_cell, row))


def json_lines(reading: Reading, query: ListQuery) -> Iterator[str]:
    """Yield all rows of a list as a JSON array with an object on each line."""
    keys = list(query.view.fields)
    before = "["
    for row in _rows(reading, query):
        yield f"{before}\n{json.dumps(dict(zip(keys, row, strict=True)), allow_nan=False)}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


class ExportCutOffError(Exception):
    """An export has failed on the way. Only a connection that ends tells the client so."""


class Export(NamedTuple):
    """A kind of export: the suffix of its file, its media type, and what yields it."""

    suffix: str
    media_type: str
    lines: Callable[[Reading, ListQuery], Iterator[str]]


EXPORTS = {
    "csv": Export(".csv", "text/csv", csv_lines),
    "json": Export(".json", "application/json", json_lines),
}
"""The kinds of export by their name in addresses."""


def _rows(reading: Reading, query: ListQuery) -> Iterator[list[object]]:
    """Yield the rows from the beginning of a list, read in pieces, each in a session of its own.

    A slow client must not keep a transaction open: the -wal would grow, or writers would wait.
    The order is that of the primary key. Any other order continues from the values of the last row,
    which may have been deleted or changed since.
    """
    query = replace(query, after=None, before=None, sort=query.view.key.key)
    piece = _LONG_PIECE if any(field.is_long for field in query.view.fields.values()) else _PIECE
    while True:
        with reading() as session:
            found = session.execute(query.select(*query.view.stored, rows=piece)).all()
        for row in found[:piece]:
            yield [json_value(value) for value in row]
        if len(found) <= piece:
            return
        query = replace(query, after=str(found[piece - 1][0]))


def _csv(row: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(row)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
