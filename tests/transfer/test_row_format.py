"""Values that SQLite can hold and PostgreSQL cannot, one by one."""

from __future__ import annotations

import pytest

from shortsdb.models import metadata
from shortsdb.transfer.pgcopy import RowFormat


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
