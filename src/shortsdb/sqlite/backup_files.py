"""The files of backups: what their names say, which there are, and which are deleted."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from shortsdb import settings
from shortsdb.errors import OperationRefused
from shortsdb.log import get_logger
from shortsdb.paths import plausible_path
from shortsdb.sqlite.files import NewFile, open_folder

log = get_logger(__name__)

KINDS = ("upgrade", "downgrade", "restore", "manual")
"""Why a backup was made: before an upgrade, a downgrade or a restore, or by `shortsdb backup`."""

_ABANDONED_SECONDS = 3600
_TICK = timedelta(microseconds=1)
_STAMP = "%Y%m%dT%H%M%S%fZ"
_LAST = datetime(9999, 12, 31, tzinfo=UTC)  # with a day to spare before the end of the calendar
# A name may have 255 bytes: so many of the database's, so many of the revision, and the rest.
_STEM_BYTES = 150
_LABEL_CHARACTERS = 40


class Backup(NamedTuple):
    """A backup, with what its name says.

    Attributes:
        moment: When it was made.
        revision: The revision of the database, as far as a name can hold it.
        kind: One of `KINDS`; None for one of a release whose names did not say it.
        path: The file.
    """

    moment: datetime
    revision: str
    kind: str | None
    path: Path

    @property
    def checked(self) -> bool | None:
        """Whether it was looked at for damage; None if its name does not say it.

        What a restore replaces is copied as it is, damaged or not.
        """
        return None if self.kind is None else self.kind != "restore"


def folder_for(file: Path, setting: str | None) -> Path | None:
    """Return the folder that backups of `file` go to, None for no backups.

    Args:
        file: The database.
        setting: "off", a folder, or None for `backups` beside the file.

    Raises:
        OperationRefused: The setting is not a plausible path.
    """
    if setting and setting.lower() == "off":
        return None
    return plausible_path(setting) if setting else file.parent / "backups"


def is_default(folder: Path, file: Path) -> bool:
    """Return whether a folder is the one that backups of `file` go to if none is named."""
    return Path(os.path.realpath(folder)) == Path(os.path.realpath(file)).parent / "backups"


def is_missing(folder: Path, file: Path) -> bool:
    """Return whether a folder was named and does not exist: its disk may not be mounted."""
    return not is_default(folder, file) and not folder.exists()


def refuse_missing_folder(folder: Path, file: Path) -> None:
    """Refuse a folder for backups that `is_missing`.

    Raises:
        OperationRefused: It does not exist, and is not the default one of `file`.
    """
    if is_missing(folder, file):
        raise OperationRefused(
            f"the folder for backups {folder} does not exist; nothing was changed. Mount its disk, "
            "or create it"
        )


def list_backups(file: Path, folder: Path) -> list[Backup]:
    """Return the backups of `file` in `folder`, in the order in which they were made."""
    name = _names(file, folder)
    if not folder.is_dir():
        return []
    found = []
    for path in folder.iterdir():
        if (match := name.fullmatch(path.name)) and path.is_file() and not path.is_symlink():
            with suppress(ValueError):  # no date, so the name is not one of ours
                moment = datetime.strptime(match[3], _STAMP).replace(tzinfo=UTC)
                found.append(Backup(moment, match[1], match[2], path))
    return sorted(found, key=lambda backup: (backup.moment, backup.path))


def backups_of(file: Path, folder: Path) -> list[Path]:
    """Return the paths of the backups of `file` in `folder`, in the same order."""
    return [backup.path for backup in list_backups(file, folder)]


def _names(file: Path, folder: Path) -> re.Pattern[str]:
    """Return what the names of the backups of `file` in `folder` match: revision, kind, time."""
    begin, end = map(re.escape, _ends(file, folder))
    kinds = "|".join(KINDS)
    return re.compile(rf"{begin}\.([^.-]+)(?:-({kinds}))?\.(\d{{8}}T\d{{12}}Z){end}")


def _ends(file: Path, folder: Path) -> tuple[str, str]:
    """Return how the names of the backups of `file` in `folder` begin and end.

    In a folder that is not beside it there may be backups of another database of the same name,
    and of a long name only the beginning is used: a hash tells them apart.
    """
    beside = is_default(folder, file)
    name = os.fsencode(file.name)
    if beside and len(name) <= _STEM_BYTES:
        return file.stem, file.suffix
    key = crc32(name if beside else os.fsencode(os.path.realpath(file)))
    if len(name) <= _STEM_BYTES:
        return f"{file.stem}-{key:08x}", file.suffix
    return f"{name[:_STEM_BYTES].decode(errors='ignore')}-{key:08x}", ""


def reserve(file: Path, revision: str | None, kind: str, folder: Path, descriptor: int) -> NewFile:
    """Create an empty `.partial`, whose name without that nobody else can give a backup.

    Whoever created the `.partial` owns the name. Processes that start together do meet in one
    microsecond; the later one takes the next. Names sort in the order in which they are given, also
    where the clock was set back: a new one comes after all that are there.

    Args:
        file: The database.
        revision: The revision it has, None for none.
        kind: One of `KINDS`.
        folder: Where to.
        descriptor: That of the folder.

    Raises:
        OperationRefused: A backup in the folder has a date at the end of the calendar.
    """
    # The revision is what the database says of itself: any text.
    label = re.sub(r"\W", "_", revision or "unversioned", flags=re.ASCII)[:_LABEL_CHARACTERS]
    moment = datetime.now(UTC)
    if there := list_backups(file, folder):
        newest = there[-1]
        if newest.moment > _LAST:
            raise OperationRefused(
                f"{newest.path} has a date that no later backup can have; nothing was changed. "
                "Move it to another folder"
            )
        moment = max(moment, newest.moment + _TICK)
    begin, end = _ends(file, folder)
    while True:
        name = f"{begin}.{label}-{kind}.{moment.strftime(_STAMP)}{end}"
        with suppress(FileExistsError):
            copy = NewFile.create(folder / f"{name}.partial", descriptor)
            if not (folder / name).exists():
                return copy
            with copy:  # its owner has finished already
                pass
        moment = max(moment + _TICK, datetime.now(UTC))


def keep_newest(file: Path, backup: Path) -> None:
    """Delete old backups of `file` beside `backup`, and what killed processes left unfinished.

    Kept are `backup` itself, what SHORTSDB_BACKUP_KEEP says, the newest of each kind, the newest of
    another revision than the newest of all: the way back from the last upgrade, however often a
    backup was made since; and the largest, in case that the database was lost, begun anew at the
    same path, and backed up since. A copy that is being made was written to just now.
    """
    there = list_backups(file, backup.parent)
    keep = settings.backup_keep()
    if isinstance(keep, int):
        kept, said = {found.path for found in there[-keep:]}, f"the newest {keep}"
    else:
        oldest = datetime.now(UTC) - keep
        kept = {found.path for found in there if found.moment >= oldest}
        said = f"those of the last {keep.days} days"
    kept |= {backup, *{found.kind: found.path for found in there}.values()}
    kept |= set([found.path for found in there if found.revision != there[-1].revision][-1:])
    kept.add(max(there, key=lambda found: (_bytes(found.path), found.moment)).path)
    old = {
        found.path.name: f"SHORTSDB_BACKUP_KEEP keeps {said}, the newest of each kind and the "
        "largest"
        for found in there
        if found.path not in kept
    }
    with open_folder(backup.parent) as folder:
        for name in _abandoned(file, backup.parent, folder):
            old[name] = "it is unfinished, and nobody has written to it for an hour"
        for name, reason in old.items():
            path = backup.parent / name
            try:
                os.unlink(name, dir_fd=folder)
                log.info("deleted the old backup %s: %s", path, reason)
            except FileNotFoundError:  # two at once delete the same ones
                pass
            except OSError as error:
                log.warning("the old backup %s could not be deleted: %s", path, error.strerror)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # two at once delete the same ones
        return 0


def _abandoned(file: Path, path: Path, folder: int) -> list[str]:
    """Return the names in a folder, by path and descriptor, of unfinished backups of `file`."""
    backup = _names(file, path)
    found = []
    for name in os.listdir(folder):
        if name.endswith(".partial") and backup.fullmatch(name.removesuffix(".partial")):
            with suppress(FileNotFoundError):
                state = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if time.time() - state.st_mtime > _ABANDONED_SECONDS:
                    found.append(name)
    return found
