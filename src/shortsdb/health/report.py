"""What a health check reports, and the problems that every database can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shortsdb.bounded_calls import BoundedCalls
from shortsdb.migration import revision_ids
from shortsdb.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shortsdb.sqlite.version import Version


@dataclass(frozen=True, kw_only=True)
class Health:
    """What was found of a database.

    Attributes:
        reachable: Whether it could be read.
        revision: The revision it is at; None if it has none or could not be read.
        shape: The revision whose tables a SQLite database without a version has, such as a
            deployed one; `upgrade` adopts it there. None if it has a version or no table of ours.
        head: The newest revision that this release knows.
        known: Whether this release knows `revision`, or recognises the tables of a SQLite database
            that has none; one without tables is known.
        pending: The revisions after `revision` or `shape`, oldest first; all of them where there is
            neither.
        writable: Whether this engine could write: False for a standby, a server that is set to
            read-only transactions, and a file, a folder or a connection that cannot be written.
            None if it could not be read, or if the engine is a read-only one itself.
        foreign_keys: Whether connections of this engine enforce foreign keys.
        journal_mode: SQLite's; None for others.
        free_bytes: What is free on the file system of a SQLite file; None for others.
        last_backup: The path of the newest backup of a SQLite file; None for none, and for others.
        latency_seconds: What connecting and reading the revision took; None if that failed.
        problems: What is wrong, one sentence each, without a path, host, password or SQL in it.
        error: The driver's own words on why it could not be read, for operators only: they may
            tell hosts and users.

    What comes from the database, such as `revision`, is shortened to 200 characters, and characters
    that cannot be printed are escaped.
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
    last_backup: str | None = None
    latency_seconds: float | None = None
    problems: tuple[str, ...] = ()
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


CALLS: BoundedCalls[Health] = BoundedCalls()
"""The health checks that run within a timeout, of which some may hang."""


def unreachable(problem: str, error: BaseException | None = None) -> Health:
    """Return the report on a database that cannot be read.

    Args:
        problem: Why, for everybody.
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
    problem = f"it has not answered within {timeout:g} s"
    return Health(reachable=False, head=revision_ids()[-1], problems=(problem,))


def version_problems(version: Version, *, foreign_keys: bool) -> Iterator[str]:
    """Yield what is wrong with the version of a database, and with its connections."""
    if not version.known and version.revision is None:
        yield "it has no version, and its tables are those of no revision that this release knows"
    elif not version.known:
        yield f"it is at revision {version.revision}, which this release does not know"
    if version.pending:
        yield f"revisions are pending: {', '.join(version.pending)}"
    if not foreign_keys:
        yield "connections of this engine do not enforce foreign keys"
