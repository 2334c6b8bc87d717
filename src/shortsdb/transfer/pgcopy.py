"""Rows of SQLite in the binary format of PostgreSQL's COPY, and back.

The format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format". A row has one
form in it, so that two databases hold the same where their rows have the same bytes.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat
from reprlib import Repr
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Column, Table

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER: Final = struct.pack(">h", -1)

# An entry of a B-tree has 2,704 bytes at most, see BTMaxItemSize in PostgreSQL's nbtree.h; the rest
# is for its header and the numbers and moments beside a text in our indexes.
_INDEXED_BYTES = 2_600

_COUNT = struct.Struct(">h")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_INTEGER = struct.Struct(">iq")
_FLOAT = struct.Struct(">id")
_DOUBLE = struct.Struct(">d")
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - naive UTC, as the models have it
_DAY = 86_400 * 10**6  # microseconds

# A seventh digit of a second, or a later one, that is not 0.
_NANOSECONDS = re.compile(rb"[.,][0-9]{6,}[1-9]")

_short = Repr()
_short.maxstring = _short.maxother = 60


class RowFormat:
    """The binary format of the rows of one table."""

    def __init__(self, table: Table) -> None:
        """Prepare for all columns of `table`, in their order."""
        self._fields = [_Field(column) for column in table.columns]
        self._count = _COUNT.pack(len(self._fields))

    def check(self, rows: Sequence[Sequence[Any]]) -> None:
        """Look whether PostgreSQL can hold rows of SQLite.

        Column by column, because many values of one kind are quickly looked at together.

        Args:
            rows: Values as sqlite3 gives them with `text_factory` bytearray: text is then told
                from a blob, and may be broken. At least one row; what follows after the columns
                of the table is passed over.

        Raises:
            ValueError: It cannot hold one of them, see `faults`.
        """
        for field, values in zip(self._fields, zip(*rows, strict=True), strict=False):
            field.check(values)

    def faults(self, row: Sequence[Any]) -> dict[str, str]:
        """Return why PostgreSQL cannot hold some of the values of a row, by column."""
        faults = {}
        for field, value in zip(self._fields, row, strict=False):
            try:
                field.check([value])
            except ValueError as error:
                faults[field.name] = f"{_shown(value)} {error}"
        return faults

    def encode(self, rows: Sequence[Sequence[Any]]) -> list[bytes]:
        """Return rows of SQLite, all of them valid, in the binary format; see `check`."""
        fields = [
            field.form.encode(values)
            for field, values in zip(self._fields, zip(*rows, strict=True), strict=True)
        ]
        return list(map(b"".join, zip(repeat(self._count), *fields)))

    def decode(self, row: bytes) -> list[Any]:
        """Return what SQLite is to hold of a row in the binary format."""
        values: list[Any] = []
        at = _COUNT.size
        for field in self._fields:
            (length,) = _LENGTH.unpack_from(row, at)
            at += _LENGTH.size
            if length < 0:
                values.append(None)
            else:
                values.append(field.form.decode(row[at : at + length]))
                at += length
        return values


class _Field:
    """The format of one column."""

    def __init__(self, column: Column[Any]) -> None:
        self.name = column.name
        self.form = _FORMS[kind(column)]
        self._types = {self.form.held, NoneType} if column.nullable else {self.form.held}
        self._bytes = _INDEXED_BYTES if kind(column) is str and _is_indexed(column) else None

    def check(self, values: Sequence[Any]) -> None:
        types = set(map(type, values))
        if types - self._types:
            raise ValueError(f"where {self.form.noun} belongs")
        if self.form.check is None:
            return
        if NoneType in types:
            values = [value for value in values if value is not None]
        self.form.check(values)
        if self._bytes is not None and max(map(len, values), default=0) > self._bytes:
            raise ValueError(f"is longer than the {self._bytes} bytes that an index holds")


def _is_indexed(column: Column[Any]) -> bool:
    indexes = column.table.indexes
    return bool(
        column.primary_key
        or column.unique
        or any(column.name in index.columns for index in indexes)
    )


def kind(column: Column[Any]) -> type:
    """Return what the values of a column are: int, float, str or datetime."""
    type_ = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    return type_.python_type


def _shown(value: object) -> str:
    if value is None:
        return "NULL"
    return _short.repr(value.decode(errors="replace") if isinstance(value, bytearray) else value)


def _check_texts(values: Sequence[bytearray]) -> None:
    together = b"\n".join(values)
    if 0 in together:
        raise ValueError("has a NUL in it")
    if not together.isascii():
        try:
            together.decode()
        except UnicodeDecodeError as error:
            raise ValueError("is not UTF-8") from error


def _check_moments(values: Sequence[bytearray]) -> None:
    # `fromisoformat` would cut them without an error.
    if _NANOSECONDS.search(b"\n".join(values)):
        raise ValueError("is finer than a microsecond, which PostgreSQL cannot hold")
    try:
        for value in values:
            _moment(value)
    except (ValueError, OverflowError) as error:
        raise ValueError("where a timestamp belongs") from error


def _moment(text: bytearray) -> datetime:
    # The rule by which the models read it.
    moment = datetime.fromisoformat(text.decode())
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _encode_integers(values: Sequence[int | None]) -> Iterable[bytes]:
    pack = _INTEGER.pack
    return [_NULL if value is None else pack(8, value) for value in values]


def _encode_floats(values: Sequence[float | None]) -> Iterable[bytes]:
    pack = _FLOAT.pack
    return [_NULL if value is None else pack(8, value) for value in values]


def _encode_texts(values: Sequence[bytearray | None]) -> Iterable[bytes]:
    pack = _LENGTH.pack
    return [_NULL if value is None else pack(len(value)) + value for value in values]


def _encode_moments(values: Sequence[bytearray | None]) -> Iterable[bytes]:
    for value in values:
        if value is None:
            yield _NULL
        else:
            past = _moment(value) - _EPOCH
            yield _INTEGER.pack(8, past.days * _DAY + past.seconds * 10**6 + past.microseconds)


def _decode_integer(field: bytes) -> int:
    return int.from_bytes(field, "big", signed=True)


def _decode_float(field: bytes) -> float:
    (number,) = _DOUBLE.unpack(field)
    return float(number)


def _decode_moment(field: bytes) -> str:
    moment = _EPOCH + timedelta(microseconds=_decode_integer(field))
    # The text of SQLAlchemy's DateTime.
    return moment.isoformat(" ", "microseconds")


@dataclass(frozen=True)
class _Form:
    """How values of one kind are held by SQLite, checked, encoded and decoded."""

    held: type
    noun: str
    check: Callable[[Sequence[Any]], None] | None
    encode: Callable[[Sequence[Any]], Iterable[bytes]]
    decode: Callable[[bytes], Any]


_FORMS = {
    # SQLite makes a REAL of an integer beyond 64 bits.
    int: _Form(int, "a 64-bit integer", None, _encode_integers, _decode_integer),
    float: _Form(float, "a number", None, _encode_floats, _decode_float),
    str: _Form(bytearray, "text", _check_texts, _encode_texts, bytes.decode),
    datetime: _Form(bytearray, "a timestamp", _check_moments, _encode_moments, _decode_moment),
}
