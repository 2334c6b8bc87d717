"""Values that SQLite can hold and PostgreSQL cannot, one by one."""

from __future__ import annotations

import struct

import pytest
from sqlalchemy import Column, DateTime, Float, Integer, MetaData, String, Table

from shortsdb.models import metadata
from shortsdb.transfer.pgcopy import HEADER, TRAILER, RowFormat

TABLE = Table(
    "t",
    MetaData(),
    Column("key", String, primary_key=True),
    Column("number", Integer),
    Column("size", Float),
    Column("single", String, unique=True),
    Column("sought", String, index=True),
    Column("moment", DateTime),
    Column("needed", String, nullable=False),
)
VALID: list[object] = [
    bytearray(b"k"),
    -2,
    1.5,
    None,
    bytearray("ö".encode()),
    bytearray(b"2000-01-02T01:00:00.000003"),
    bytearray(b""),
]


def field(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def test_a_row_has_the_bytes_that_postgresql_documents() -> None:
    """See "Binary Format" in https://www.postgresql.org/docs/current/sql-copy.html."""
    assert b"PGCOPY\n\xff\r\n\0" + bytes(8) == HEADER
    assert TRAILER == b"\xff\xff"
    expected = b"\0\x07" + b"".join(
        (
            field(b"k"),
            field((2**64 - 2).to_bytes(8, "big")),
            field(struct.pack(">d", 1.5)),
            b"\xff\xff\xff\xff",
            field("ö".encode()),
            # Microseconds since 2000.
            field((25 * 3600 * 10**6 + 3).to_bytes(8, "big")),
            field(b""),
        )
    )
    row_format = RowFormat(TABLE)
    nothing = [bytearray(b"n"), *[None] * 5, bytearray(b"x")]
    row_format.check([VALID, nothing])
    row_format.check([[*VALID, "what follows is passed over"]])
    assert row_format.encode([VALID, nothing])[0] == expected
    assert row_format.decode(expected) == [
        *("k", -2, 1.5, None, "ö", "2000-01-02 01:00:00.000003", ""),
    ]
    assert row_format.decode(row_format.encode([VALID, nothing])[1]) == ["n", *[None] * 5, "x"]


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        (0, None, "NULL where text belongs"),
        (6, None, "NULL where text belongs"),
        (0, b"\0", r"b'\x00' where text belongs"),
        (1, bytearray(b"1"), "'1' where a 64-bit integer belongs"),
        (1, 1.0, "1.0 where a 64-bit integer belongs"),
        (2, 1, "1 where a number belongs"),
        (4, bytearray(b"a\0"), r"'a\x00' has a NUL in it"),
        (4, bytearray(b"a\xff"), "'a\ufffd' is not UTF-8"),
        (5, bytearray(b"soon"), "'soon' where a timestamp belongs"),
        (5, bytearray(b"0001-01-01T00:00+01:00"), "'0001-01-01T00:00+01:00' where a timestamp"),
        (5, 7, "7 where a timestamp belongs"),
        (0, bytearray(b"x" * 2601), "is longer than the 2600 bytes that an index holds"),
        (3, bytearray(b"x" * 2601), "is longer than the 2600 bytes that an index holds"),
        (4, bytearray(b"x" * 2601), "is longer than the 2600 bytes that an index holds"),
    ],
)
def test_a_value_that_postgresql_cannot_hold(column: int, value: object, fault: str) -> None:
    row = [*VALID]
    row[column] = value
    row_format = RowFormat(TABLE)
    # More columns may follow.
    for rows in ([row, VALID], [VALID, row]):
        with pytest.raises(ValueError, match=r"where|in it|UTF-8|index"):
            row_format.check([[*each, 0] for each in rows])
    ((name, found),) = row_format.faults([*row, 0]).items()
    assert name == list(TABLE.columns.keys())[column]
    assert fault in found
    assert len(found) < 130


def test_texts_as_long_as_an_index_or_a_column_without_one_holds() -> None:
    row = [*VALID]
    row[0] = row[3] = row[4] = bytearray(b"x" * 2600)
    row[6] = bytearray(b"x" * 2601)
    RowFormat(TABLE).check([row])
    assert RowFormat(TABLE).faults(row) == {}


def row_of(moment: bytes) -> list[object]:
    texts = [bytearray(text) for text in (b"module", b"type", b"message", b"trace")]
    return [1, None, *texts, bytearray(moment), 0]


@pytest.mark.parametrize(
    "moment",
    [
        b"2026-01-02 03:04:05.123456789",
        b"2026-01-02 03:04:05.1234567",
        b"2026-01-02T03:04:05,000000001",
        b"2026-01-02T03:04:05.123456001+02:00",
        b"20260102T030405.1234567",
    ],
)
def test_times_finer_than_a_microsecond_are_listed(moment: bytes) -> None:
    row_format = RowFormat(metadata.tables["error_logs"])
    with pytest.raises(ValueError, match="finer than a microsecond, which PostgreSQL cannot hold"):
        row_format.check([row_of(b"2026-01-02"), row_of(moment)])
    faults = row_format.faults(row_of(moment))
    assert faults == {
        "occurred_at": f"'{moment.decode()}' is finer than a microsecond, which PostgreSQL "
        "cannot hold"
    }


@pytest.mark.parametrize(
    ("moment", "copied"),
    [
        (b"2026-01-02 03:04:05.123456000", "2026-01-02 03:04:05.123456"),
        (b"2026-01-02 03:04:05.1", "2026-01-02 03:04:05.100000"),
        (b"2026-01-02 03:04:05.000001", "2026-01-02 03:04:05.000001"),
        (b"1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999"),
        (b"2026-01-02T03:04:05+02:00", "2026-01-02 01:04:05.000000"),
        (b"2026-01-02", "2026-01-02 00:00:00.000000"),
        (b"0001-01-01", "0001-01-01 00:00:00.000000"),
        (b"9999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"),
    ],
)
def test_valid_times_are_copied_exactly(moment: bytes, copied: str) -> None:
    row_format = RowFormat(metadata.tables["error_logs"])
    rows = [row_of(moment)]
    row_format.check(rows)
    assert row_format.faults(rows[0]) == {}
    (encoded,) = row_format.encode(rows)
    assert row_format.decode(encoded)[6] == copied


def test_rows_of_another_width_are_an_error() -> None:
    row_format = RowFormat(TABLE)
    for rows in ([VALID, VALID[:-1]], [[*VALID, 0]]):
        with pytest.raises(ValueError, match=r"longer than|shorter than"):
            row_format.encode(rows)
    with pytest.raises(ValueError, match="shorter than"):
        row_format.check([VALID, VALID[:-1]])
