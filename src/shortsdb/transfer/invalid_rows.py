"""Rows that the target cannot hold: what is known of each, and where they are written down."""

from __future__ import annotations

import json
import math
import os
import stat
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from shortsdb.log import get_logger
from shortsdb.migration import MigrationRefused
from shortsdb.sqlite.file_checks import kind
from shortsdb.sqlite.files import NewFile, open_folder
from shortsdb.sqlite.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shortsdb.target import Target

log = get_logger(__name__)

# So many are named in a refusal.
_NAMED = 20

_BEGINNING = b'{"table": '


@dataclass(frozen=True)
class InvalidRow:
    """A row that the target cannot hold, and why, by column."""

    table: str
    key: Any
    faults: Mapping[str, str]
    row: Mapping[str, Any]

    def __str__(self) -> str:
        """Return it in one line, without the row."""
        reasons = "; ".join(f"{column}: {reason}" for column, reason in self.faults.items())
        return f"{self.table} {self.key!r}: {reasons}"

    def as_json(self) -> str:
        r"""Return it in one line of JSON, nothing lost.

        What JSON has no form for is an object: {"hex": "00ff"} a blob, {"float": "inf"} a number
        that is not finite. Bytes of a text that are not UTF-8 are \udc80 to \udcff.
        """
        row = {name: _as_json(value) for name, value in self.row.items()}
        return json.dumps(
            {"table": self.table, "key": _as_json(self.key), "faults": dict(self.faults)}
            | {"row": row}
        )


class InvalidRowReport:
    """The invalid rows of a source, all of them counted; `keys` are theirs, by table."""

    def __init__(
        self,
        file: IO[str] | None = None,
        new: NewFile | None = None,
        destination: Path = Path(),
        folder: int | None = None,
    ) -> None:
        """Begin with none, see `collecting`."""
        self.keys: dict[str, set[Any]] = defaultdict(set)
        self._named: list[str] = []
        self._file = file
        self._new = new
        self._destination = destination
        self._folder = folder

    def add(self, found: InvalidRow) -> None:
        """Take an invalid row down."""
        self.keys[found.table].add(found.key)
        if len(self._named) < _NAMED:
            self._named.append(str(found))
        if self._file is not None:
            self._file.write(found.as_json() + "\n")

    def settle(self, source: Target) -> None:
        """Give the file of invalid rows its name, or refuse the copy where there is to be none.

        Raises:
            MigrationRefused: There are invalid rows in the source, and no file for them.
        """
        count = sum(map(len, self.keys.values()))
        if not count:
            return
        if self._file is None or self._new is None:
            more = count - len(self._named)
            raise MigrationRefused(
                f"{source} holds {count} rows that cannot be copied; nothing was written. Mend "
                "them, or leave them out with --skip-invalid FILE, which writes them to FILE:",
                *self._named,
                *([f"and {more} more"] if more else []),
            )
        self._file.flush()
        os.fsync(self._file.fileno())
        self._new.rename(self._destination.name, self._folder)
        log.warning("%s: %d rows are left out, see %s", source, count, self._destination)


@contextmanager
def collecting(destination: Path | None) -> Iterator[InvalidRowReport]:
    """Give what collects invalid rows, and writes them to a file if there are any.

    The file may be that of an earlier copy, which is replaced. Nobody else may read it.

    Until it is complete it lies in a folder beside. A killed copy leaves that folder behind, and
    the next copy with the same file removes it.

    Args:
        destination: The file; None for none.

    Raises:
        MigrationRefused: It cannot be made, or it is another kind of file.
    """
    if destination is None:
        yield InvalidRowReport()
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(open_folder(destination.parent))
            _refuse_other_file(destination, folder)
            prefix = f".{destination.name[:40]}."
            scratch = stack.enter_context(scratch_folder(destination.parent, prefix))
            private = stack.enter_context(open_folder(scratch))
            new = stack.enter_context(NewFile.create(scratch / "rows", private))
        except OSError as error:
            raise MigrationRefused(f"{destination} cannot be made ({error.strerror})") from error
        # The descriptor is closed with `new`.
        file = os.fdopen(new.descriptor, "w", encoding="utf-8", closefd=False)
        yield InvalidRowReport(stack.enter_context(file), new, destination, folder)


def _refuse_other_file(destination: Path, folder: int) -> None:
    """Refuse to replace what is not a file of an earlier copy, without waiting for a FIFO."""
    try:
        found = os.stat(destination.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise MigrationRefused(
            f"{destination} is {kind(found.st_mode)}, which is not replaced; name another file"
        )
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(destination.name, flags, dir_fd=folder), "rb") as file:
        beginning = file.read(len(_BEGINNING))
    if beginning not in {b"", _BEGINNING}:
        raise MigrationRefused(f"{destination} holds something else already; name another file")


def plain(value: object) -> object:
    """Return a value of sqlite3 with text as str; bytes that are not UTF-8 become surrogates."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytearray) else value


def _as_json(value: object) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value
