"""Rows of SQLite in the binary format of PostgreSQL's COPY, and back.

The format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format". A row has one
form in it, so that two databases hold the same where their rows have the same bytes.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from reprlib import Repr
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Column, Table

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER: Final = struct.pack(">h", -1)

# An entry of a B-tree has 2,704 bytes at most, see BTMaxItemSize in PostgreSQL's nbtree.h; the rest
# is for its header and the numbers and moments beside a text in our indexes.
_INDEXED_BYTES = 2_600

_NULL = struct.pack(">i", -1)
_LENGTH = struct.Struct(">i")
_COUNT = struct.Struct(">h")
_INTEGER = struct.Struct(">iq")
_FLOAT = struct.Struct(">id")
_DOUBLE = struct.Struct(">d")
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - naive UTC, as the models have it
_DAY = 86_400 * 10**6  # microseconds

_short = Repr()
_short.maxstring = _short.maxother = 60


class RowFormat:
    """The binary format of the rows of one table."""

    def __init__(self, table: Table) -> None:
        """Prepare for all columns of `table`, in their order."""
        indexed = {column for index in table.indexes for column in index.columns}
        indexed |= {column for column in table.columns if column.unique or column.primary_key}
        kinds = [kind(column) for column in table.columns]
        self._names = [column.name for column in table.columns]
        self._nullable = [bool(column.nullable) for column in table.columns]
        self._encoders = [
            _indexed_text if kind is str and column in indexed else _ENCODERS[kind]
            for kind, column in zip(kinds, table.columns, strict=True)
        ]
        self._decoders = [_DECODERS[kind] for kind in kinds]
        self._count = _COUNT.pack(len(kinds))

    def encode(self, values: Sequence[Any]) -> bytes:
        """Return a row of SQLite in the binary format.

        Args:
            values: As sqlite3 gives them with `text_factory` bytearray: text is then told from a
                blob, and may be broken.

        Raises:
            ValueError: PostgreSQL cannot hold one of them.
        """
        return b"".join(
            [
                self._count,
                *[
                    _NULL if value is None and nullable else encode(value)
                    for encode, nullable, value in zip(
                        self._encoders, self._nullable, values, strict=True
                    )
                ],
            ]
        )

    def faults(self, values: Sequence[Any]) -> dict[str, str]:
        """Return why PostgreSQL cannot hold some of `values`, by column; see `encode`."""
        faults = {}
        for name, encode, nullable, value in zip(
            self._names, self._encoders, self._nullable, values, strict=True
        ):
            if value is None and nullable:
                continue
            try:
                encode(value)
            except ValueError as error:
                faults[name] = str(error)
        return faults

    def decode(self, row: bytes) -> list[Any]:
        """Return what SQLite is to hold of a row in the binary format."""
        values: list[Any] = []
        at = _COUNT.size
        for decode in self._decoders:
            (length,) = _LENGTH.unpack_from(row, at)
            at += _LENGTH.size
            if length < 0:
                values.append(None)
            else:
                values.append(decode(row[at : at + length]))
                at += length
        return values


def kind(column: Column[Any]) -> type:
    """Return what the values of a column are: int, float, str or datetime."""
    type_ = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    return type_.python_type


def _integer(value: object) -> bytes:
    if type(value) is not int:
        # SQLite makes a REAL of an integer beyond 64 bits.
        raise ValueError(f"{_shown(value)} where a 64-bit integer belongs")
    return _INTEGER.pack(8, value)


def _float(value: object) -> bytes:
    if type(value) is not float:
        raise ValueError(f"{_shown(value)} where a number belongs")
    return _FLOAT.pack(8, value)


def _text(value: object) -> bytes:
    if type(value) is not bytearray:
        raise ValueError(f"{_shown(value)} where text belongs")
    if 0 in value:
        raise ValueError(f"{_shown(value)} has a NUL in it")
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{_shown(value)} is not UTF-8") from error
    return _LENGTH.pack(len(value)) + value


def _indexed_text(value: object) -> bytes:
    encoded = _text(value)
    if len(encoded) > _INDEXED_BYTES + _LENGTH.size:
        raise ValueError(
            f"{_shown(value)} has {len(encoded) - _LENGTH.size} bytes, and an index holds "
            f"{_INDEXED_BYTES}"
        )
    return encoded


def _moment(value: object) -> bytes:
    if type(value) is not bytearray:
        raise ValueError(f"{_shown(value)} where a timestamp belongs")
    try:
        # The rule by which the models read it.
        moment = datetime.fromisoformat(value.decode())
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{_shown(value)} where a timestamp belongs") from error
    past = moment - _EPOCH
    return _INTEGER.pack(8, past.days * _DAY + past.seconds * 10**6 + past.microseconds)


def _shown(value: object) -> str:
    if value is None:
        return "NULL"
    return _short.repr(bytes(value).decode(errors="replace") if type(value) is bytearray else value)


def _decode_integer(field: bytes) -> int:
    return int.from_bytes(field, "big", signed=True)


def _decode_float(field: bytes) -> float:
    (number,) = _DOUBLE.unpack(field)
    return float(number)


def _decode_moment(field: bytes) -> str:
    moment = _EPOCH + timedelta(microseconds=_decode_integer(field))
    # The text of SQLAlchemy's DateTime.
    return moment.isoformat(" ", "microseconds")


_ENCODERS: dict[type, Callable[[object], bytes]] = {
    int: _integer,
    float: _float,
    str: _text,
    datetime: _moment,
}
_DECODERS: dict[type, Callable[[bytes], Any]] = {
    int: _decode_integer,
    float: _decode_float,
    str: bytes.decode,
    datetime: _decode_moment,
}
