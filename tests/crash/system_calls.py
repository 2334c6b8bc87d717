"""Parse strace output: the calls of a run that changed files, in order."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

CHANGES = (
    *("write", "pwrite64", "fsync", "fdatasync", "ftruncate"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat"),
)
# Other calls that could change a file or a name; the harness rejects runs that use them.
OTHERS = (
    *("openat", "mkdir", "mkdirat", "pread64", "pwritev", "pwritev2", "writev", "truncate"),
    *("fallocate", "link", "linkat", "symlink", "rmdir", "sendfile", "copy_file_range"),
)
# -xx prints every string in hexadecimal, so that strings contain no quotes or brackets.
RECORD = ["-y", "-xx", "-s", "1000000", "-e", f"trace={','.join((*CHANGES, *OTHERS))}"]
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_QUOTED = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_BRACKETED = re.compile(r"<((?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True)
class Call:
    """A system call that succeeded or was the last of its process."""

    name: str
    ordinal: int
    """The number of the call among those of its name in its thread, as for strace's `when=`."""
    paths: tuple[Path, ...]
    """The path that it touched, or two paths for a rename."""
    data: bytes
    numbers: tuple[int, ...]
    """The arguments after the last string: size and offset of a write, length of a truncate."""
    flags: str
    succeeded: bool


def read_trace(trace: Path) -> list[Call]:
    """Return the calls of a trace made with RECORD."""
    ordinals: Counter[tuple[str, str]] = Counter()
    calls = []
    for line in trace.read_text(encoding="ascii").splitlines():
        # "<... resumed>" ends a call that was parsed already; other lines are about processes.
        if match := _LINE.match(line):
            thread, name, rest = match.groups()
            ordinals[thread, name] += 1
            calls.append(_call(name, ordinals[thread, name], rest))
    return calls


def _call(name: str, ordinal: int, rest: str) -> Call:
    arguments, _, result = rest.rpartition(" = ")
    if not arguments:  # unfinished
        arguments, result = rest, "?"
    quoted = [_bytes(text) for text in _QUOTED.findall(arguments)]
    bracketed = [_bytes(text) for text in _BRACKETED.findall(arguments)]
    of_descriptor = name in {"write", "pwrite64", "fsync", "fdatasync", "ftruncate", "pread64"}
    if of_descriptor:
        paths = [Path(os.fsdecode(bracketed[0]))] if bracketed else []
    else:
        folder = Path(os.fsdecode(bracketed[0])) if bracketed else Path()
        paths = [folder / os.fsdecode(path) for path in quoted]
    plain = _BRACKETED.sub("", _QUOTED.sub("", arguments)).rstrip(")").split(",")
    return Call(
        name=name,
        ordinal=ordinal,
        paths=tuple(paths),
        data=quoted[0] if of_descriptor and quoted else b"",
        numbers=tuple(int(text) for text in plain if text.strip().isdecimal()),
        flags=arguments if name == "openat" else "",
        succeeded=not result.startswith(("-1", "?")),
    )


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def touching(calls: list[Call], folder: Path) -> list[Call]:
    """Return the calls that touch the folder or its contents, with paths relative to it."""
    return [
        replace(call, paths=tuple(path.relative_to(folder) for path in call.paths))
        for call in calls
        if call.paths and all(path.is_relative_to(folder) for path in call.paths)
    ]
