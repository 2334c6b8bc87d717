"""The report of a health check, and the problems common to all databases."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from shortsdb.bounded_calls import BoundedCalls
from shortsdb.migration import revision_ids
from shortsdb.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shortsdb.sqlite.version import Version


@dataclass(frozen=True, kw_only=True)
class Health:
    """The health of a database.

    Attributes:
        reachable: Whether the database could be read.
        revision: The revision of the database; None if it has none or could not be read.
        shape: The revision whose tables a database without a version has, such as a deployed one;
            `upgrade` starts from it. None if it has a version or no table of ours.
        head: The newest revision that this release knows.
        known: Whether this release knows `revision`, or recognises the tables of a database
            without a version; a database without tables is known.
        pending: The revisions after `revision` or `shape`, oldest first; all revisions if both are
            None.
        writable: Whether this engine can write: False for a standby, a server that is set to
            read-only transactions, and a file, a folder or a connection that cannot be written.
            None if the database could not be read, or if the engine is a read-only one.
        foreign_keys: Whether connections of this engine enforce foreign keys.
        journal_mode: The journal mode of a SQLite database, otherwise None.
        free_bytes: The free space on the file system of a SQLite file, otherwise None.
        size_bytes: The size of a SQLite file, without its -wal, or of a server's database; None in
            memory.
        last_backup: The path of the newest backup of a SQLite file, or None.
        last_backup_age_seconds: The time since that backup was made.
        latency_seconds: The time for connecting and reading the revision; None if that failed.
        problems: The problems, one sentence each, without paths, hosts, passwords and SQL.
        error: The driver's message if the database could not be read. It is for operators only,
            because it may contain hosts and users.

    Values from the database, such as `revision`, are shortened to 200 characters, and unprintable
    characters are escaped.
    """

    reachable: bool
    revision: str | None = None
    shape: str | None = None
    head: str
    known: bool = True
    pending: tuple[str, ...] = ()
    writable: bool | None = None
    foreign_keys: bool | None = None
    journal_mode: str | None = None
    free_bytes: int | None = None
    size_bytes: int | None = None
    last_backup: str | None = None
    last_backup_age_seconds: float | None = None
    latency_seconds: float | None = None
    problems: tuple[str, ...] = ()
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def limit_backup_age(self, hours: float | None) -> Health:
        """Return this report, with a problem if a SQLite file has no backup that is so new.

        Args:
            hours: How old the last backup may be; None for no limit.
        """
        age = self.last_backup_age_seconds
        if hours is None or not self.reachable or (age is not None and 0 <= age <= hours * 3600):
            return self
        problem = f"there is no backup of the last {hours:g} h"
        if age is not None:
            problem += f": the newest is {age / 3600:.1f} h old"
        return replace(self, problems=(*self.problems, problem))

    def fields(self, database: str | None = None) -> dict[str, Any]:
        """Return the report for JSON.

        Args:
            database: The name of the database; None for a page that anybody may read: then neither
                that nor the driver's own words are told, and of the last backup its name only.
        """
        fields = {"database": database, "ok": self.ok, **asdict(self)}
        if database is None:
            fields["error"] = None
            fields["last_backup"] = self.last_backup and PurePath(self.last_backup).name
        return fields


CALLS: BoundedCalls[Health] = BoundedCalls()
"""The health checks that run with a timeout, and may hang."""


def unreachable(problem: str, error: BaseException | None = None) -> Health:
    """Return the report on a database that cannot be read.

    Args:
        problem: The reason, for everybody.
        error: The driver's error, for operators.
    """
    return Health(
        reachable=False,
        head=revision_ids()[-1],
        problems=(problem,),
        error=one_line(error) if error else None,
    )


def unanswered(timeout: float) -> Health:
    """Return the report on a database that has not answered within `timeout` seconds."""
    return unreachable(f"it has not answered within {timeout:g} s")


def version_problems(version: Version, *, foreign_keys: bool) -> Iterator[str]:
    """Yield the problems of the version of a database and of its connections."""
    if not version.known and version.revision is None:
        yield "it has no version, and its tables are those of no revision that this release knows"
    elif not version.known:
        yield f"it is at revision {version.revision}, which this release does not know"
    if version.pending:
        yield f"revisions are pending: {', '.join(version.pending)}"
    if not foreign_keys:
        yield "connections of this engine do not enforce foreign keys"
