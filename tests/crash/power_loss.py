"""Simulate power loss: replay recorded calls onto a disk that loses unsynced writes.

The disk is worse than real ones. Each sector written since the last fsync of a file is kept or lost
independently. A created, removed or renamed name is durable only after an fsync of its folder, and
names are kept or lost independently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import random

    from system_calls import Call

SECTOR = 512
ROOT = Path()
Loss = Literal["all lost", "all kept", "at random"]


@dataclass
class _File:
    """A file's durable bytes, and the changes since: a write at an offset, or a truncate."""

    durable: bytearray
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        # A disk writes whole sectors.
        while data:
            size = SECTOR - offset % SECTOR
            self.pending.append((offset, data[:size]))
            offset, data = offset + size, data[size:]

    def make_durable(self) -> None:
        self.durable = _changed(self.durable, self.pending)
        self.pending = []


def _changed(content: bytearray, changes: list[tuple[int, bytes | None]]) -> bytearray:
    content = bytearray(content)
    for offset, data in changes:
        if data is None:
            del content[offset:]
            content.extend(bytes(offset - len(content)))
        else:
            content.extend(bytes(max(offset - len(content), 0)))
            content[offset : offset + len(data)] = data
    return content


@dataclass
class _Naming:
    """A change of a folder: a name is given to a file or removed."""

    path: Path
    file: _File | None
    moved_from: Path | None = None


class Disk:
    """A disk with the contents of a folder; `do` the calls of a run on it, then `lose_power`."""

    def __init__(self, folder: Path) -> None:
        """Start with the contents of the folder, all durable."""
        self._durable = {
            path.relative_to(folder): _File(bytearray(path.read_bytes()))
            for path in folder.rglob("*")
            if path.is_file()
        }
        self._folders = {path.relative_to(folder) for path in folder.rglob("*") if path.is_dir()}
        self._durable |= {path: _File(bytearray()) for path in self._folders}
        self._names = dict(self._durable)
        self._namings: list[_Naming] = []

    def is_folder(self, path: Path) -> bool:
        """Return whether the path is a folder."""
        return path == ROOT or path in self._folders

    def do(self, call: Call) -> None:
        """Replay a call.

        Raises:
            ValueError: This disk does not model the call.
        """
        # The -shm is never read after a power loss, because the first connection recreates it.
        if not call.succeeded or call.paths[0].name.endswith("-shm"):
            return
        path = call.paths[0]
        match call.name:
            case "openat":
                self._open(path, call.flags)
            case "pwrite64":
                self._names[path].write(call.numbers[-1], call.data)
            case "ftruncate":
                self._names[path].pending.append((call.numbers[-1], None))
            case "fsync" | "fdatasync":
                self._sync(path)
            case "unlink" | "unlinkat":
                del self._names[path]
                self._namings.append(_Naming(path, None))
            case "rename" | "renameat" | "renameat2":
                self._rename(path, call.paths[1])
            case "mkdir" | "mkdirat":
                self._folders.add(path)
                self._open(path, "O_CREAT")
            case "pread64":
                pass
            case other:
                raise ValueError(f"a disk without a model of {other}: {path}")

    def _open(self, path: Path, flags: str) -> None:
        if "O_CREAT" in flags and path not in self._names:
            self._names[path] = _File(bytearray())
            self._namings.append(_Naming(path, self._names[path]))
        elif "O_TRUNC" in flags:
            self._names[path].pending.append((0, None))

    def _rename(self, old: Path, new: Path) -> None:
        file = self._names.pop(old)
        self._names[new] = file
        self._namings.append(_Naming(new, file, moved_from=old))

    def _sync(self, path: Path) -> None:
        file = self._names.get(path)
        if file is not None and path not in self._folders:
            file.make_durable()
            return
        there = [naming for naming in self._namings if naming.path.parent == path]
        self._durable = _renamed(self._durable, there)
        self._namings = [naming for naming in self._namings if naming not in there]

    def lose_power(self, loss: Loss, rng: random.Random) -> dict[Path, bytes]:
        """Return the files that exist afterwards."""
        share = {"all lost": 0.0, "all kept": 1.0, "at random": rng.choice((0.1, 0.5, 0.9))}[loss]

        def kept() -> bool:
            return rng.random() < share

        namings: list[_Naming] = []
        forgotten: set[Path] = set()
        for naming in self._namings:
            paths = {naming.path, naming.moved_from or naming.path}
            # A later change of a name cannot survive without the earlier ones.
            if paths.isdisjoint(forgotten) and kept():
                namings.append(naming)
            else:
                forgotten |= paths
        names = _renamed(self._durable, namings)
        return {
            path: bytes(_changed(file.durable, [change for change in file.pending if kept()]))
            for path, file in names.items()
            # If the name of a folder is lost, all files in it are lost.
            if path not in self._folders and (path.parent in names or path.parent == ROOT)
        }


def _renamed(names: dict[Path, _File], namings: list[_Naming]) -> dict[Path, _File]:
    names = dict(names)
    for naming in namings:
        if naming.moved_from is not None:
            names.pop(naming.moved_from, None)
        if naming.file is None:
            names.pop(naming.path, None)
        else:
            names[naming.path] = naming.file
    return names
