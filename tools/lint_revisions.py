"""Lints the revisions that are not released yet, on what they do; part of `make lint`.

Each is run up and down on an SQLite database in memory, and rendered for PostgreSQL, where Squawk
judges the SQL. What the previous release uses is what the released revisions build: its code runs
on while the database is upgraded. A finding is allowed by naming its rule in the revision:

    allows = {"rebuilds-table": "clips holds 40 rows per cycle, which takes 0.1 s"}
"""

from __future__ import annotations

import ast
import json
import re
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from released import RELEASED, changed
from sqlalchemy import StaticPool, create_engine, event

from shortsdb.migration.lost_parts import lost_parts
from shortsdb.migration.revisions import alembic_config
from shortsdb.sqlite.schema import read_schema, table_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from alembic.script import Script
    from sqlalchemy import Connection

    from shortsdb.sqlite.schema import Schema, Table

RULES = {
    "frozen": "databases that ran it will not run it again, so they would differ from new ones: "
    "restore it with git, and make the change in a new revision",
    "missing-why": "the operator whose upgrade fails does not know what it is for, and what it "
    "risks",
    "imports-shortsdb": "it will do something else as soon as that code changes, so databases of "
    "different ages differ: write out what it needs",
    "fails": "every upgrade stops here",
    "cannot-be-printed": "an operator who reads `alembic upgrade --sql` before an upgrade cannot",
    "commits": "shortsdb refuses to run it, because a crash after it would leave half an upgrade",
    "rebuilds-table": "SQLite copies every row while it holds the write lock; deployed code gives "
    "up after 5 seconds of waiting",
    "drops-released": "code of the previous release runs on and uses it, and its statements fail: "
    "stop using it in one release, drop it in the next",
    "not-null-without-default": "code of the previous release does not fill it, so its INSERTs "
    "fail: allow NULL, or add a server default",
    "changes-rows": "every changed row waits for the write lock's end, and deployed code gives up "
    "after 5 seconds: let the application do it in portions",
    "downgrade-differs": "a rollback leaves a schema that no release knows",
    "needless-allowance": "nothing was found that it allows; remove it, or correct its name",
}
"""Our rules, each with what happens to whom. Squawk's: https://squawkhq.com/docs/rules."""

_EXCLUDED = (
    # Every upgrade sets both, see shortsdb.migration.locks.
    "--exclude=require-lock-timeout",
    "--exclude=require-statement-timeout",
    # All tables are numbered by BIGSERIAL, as SQLAlchemy makes them.
    "--exclude=prefer-identity",
)


class Finding(NamedTuple):
    """What a rule has found in a revision."""

    revision: str
    rule: str
    what: str

    def __str__(self) -> str:
        """Return the finding as a line."""
        return ": ".join(filter(None, (self.revision, self.rule, self.what, RULES.get(self.rule))))


def lint(config: Config) -> list[Finding]:
    """Return what is wrong with the revisions of a configuration that are not released."""
    scripts = ScriptDirectory.from_config(config)
    revisions = list(reversed(list(scripts.walk_revisions())))
    released = [script for script in revisions if script.revision in RELEASED]
    with _database(released) as connection:
        used = _schema(connection)
    return [
        Finding(script.revision, rule, what)
        for number, script in enumerate(revisions)
        if script not in released
        for rule, what in _not_allowed(script, _findings(script, revisions[:number], used))
    ]


def _not_allowed(script: Script, findings: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    allowed: dict[str, str] = getattr(script.module, "allows", {})
    needless = set(allowed)
    for rule, what in findings:
        needless.discard(rule)
        if not allowed.get(rule):
            yield rule, what
    yield from (("needless-allowance", rule) for rule in sorted(needless))


def _findings(script: Script, below: list[Script], used: Schema) -> Iterator[tuple[str, str]]:
    yield from _missing_parts(script.module.__doc__ or "")
    yield from _imports(Path(script.path).read_text(encoding="utf-8"))
    yield from _effects(script, below, used)
    yield from _squawk(script)


def _missing_parts(docstring: str) -> Iterator[tuple[str, str]]:
    said = re.findall(r"^(\w+): *[^\s<]", docstring, re.MULTILINE)
    missing = [part for part in ("Why", "Question", "Hazard") if part not in said]
    if missing:
        yield "missing-why", f"the docstring does not say {', '.join(missing)}"


def _imports(source: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(source)):
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            if name.partition(".")[0] == "shortsdb":
                yield "imports-shortsdb", f"it imports {name}"


class _Watch:
    """What statements ask SQLite for, see https://sqlite.org/c3ref/set_authorizer.html.

    Attributes:
        ended: How they have ended the transaction.
        changed: The tables of which they update or delete rows.
        error: What stopped them, None if nothing did.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.ended: list[str] = []
        self.changed: set[str] = set()
        self.error: Exception | None = None
        self._dropped: str | None = None

    def __call__(self, action: int, first: str | None, *_: str | None) -> int:
        """Take note of one part of a statement, and allow it."""
        if action == sqlite3.SQLITE_TRANSACTION:
            self.ended.append(str(first))
        elif action == sqlite3.SQLITE_DROP_TABLE:
            self._dropped = first
        elif action == sqlite3.SQLITE_DELETE and first == self._dropped:
            self._dropped = None  # DROP TABLE asks for this too
        elif action in {sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}:
            self.changed.add(str(first))
        return sqlite3.SQLITE_OK

    def findings(self, name: str) -> Iterator[tuple[str, str]]:
        """Give what is wrong with the function `name`, whatever it builds."""
        if self.ended:
            yield "commits", f"{name} sends {self.ended[0]}"
        if self.error:
            yield "fails", f"{name} on SQLite: {self.error}"


def _effects(script: Script, below: list[Script], used: Schema) -> Iterator[tuple[str, str]]:
    """Run a revision up and down on SQLite, and give what that did to what is `used`."""
    with _database(below) as before, _database(below) as after:
        up = _watched(after, script.module.upgrade)
        yield from up.findings("upgrade()")
        if up.error:
            return
        for table in sorted(used.keys() & up.changed):
            yield "changes-rows", f"it updates or deletes rows of {table}"
        yield from _losses(before, after, used)
        down = _watched(after, script.module.downgrade)
        yield from down.findings("downgrade()")
        if not down.error:
            yield from _differences(before, after)


def _losses(before: Connection, after: Connection, used: Schema) -> Iterator[tuple[str, str]]:
    old, new = _schema(before), _schema(after)
    roots, new_roots = _root_pages(before), _root_pages(after)
    for name, table in used.items():
        if name in old and name not in new:
            yield "drops-released", f"table {name} is dropped or renamed"
        if name not in old or name not in new:
            continue
        if roots[name] != new_roots[name]:
            yield "rebuilds-table", f"{name} is copied"
        for column in table.columns:
            if column in old[name].columns and column not in new[name].columns:
                yield "drops-released", f"column {name}.{column} is dropped or renamed"
        for index, columns in table.indexes.items():
            if columns in old[name].indexes.values() and columns not in new[name].indexes.values():
                yield "drops-released", f"index {index} of {name} is dropped"
        for column in _required(new[name]) - _required(old[name]):
            yield "not-null-without-default", f"column {name}.{column}"


def _required(table: Table) -> set[str]:
    """Return the columns that an INSERT has to name."""
    return {
        name
        for name, column in table.columns.items()
        if column.not_null and not column.has_default and name not in table.primary_key
    }


def _differences(before: Connection, after: Connection) -> Iterator[tuple[str, str]]:
    old, new = _schema(before), _schema(after)
    for name in sorted(old.keys() | new.keys()):
        if name not in new or name not in old:
            what = [f"table {name} is {'lost' if name in old else 'left'}"]
        else:
            what = [f"{name} has lost {part}" for part in _lost(before, after, name)]
            what += [f"{name} keeps {part}" for part in _lost(after, before, name)]
            if not what and old[name] != new[name]:
                what = [f"the columns of {name} are others"]
        yield from (("downgrade-differs", part) for part in what)


def _lost(before: Connection, after: Connection, table: str) -> list[str]:
    return lost_parts(before, after, (table, table), {}, ())


@contextmanager
def _database(revisions: list[Script]) -> Iterator[Connection]:
    """Give a database in memory that these revisions have built, as Alembic runs them."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    event.listen(engine, "connect", lambda driver, _: setattr(driver, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    with engine.connect() as connection:
        for script in revisions:
            _run(script.module.upgrade, connection=connection)
        yield connection
    engine.dispose()


def _watched(connection: Connection, change: Callable[[], None]) -> _Watch:
    watch = _Watch()
    driver: Any = connection.connection.driver_connection

    def watched() -> None:
        driver.set_authorizer(watch)
        try:
            change()
        finally:
            driver.set_authorizer(None)

    try:
        _run(watched, connection=connection)
    except Exception as error:  # noqa: BLE001 - a revision may raise anything
        watch.error = error
    return watch


def _run(change: Callable[[], None], **options: Any) -> None:  # noqa: ANN401 - Alembic's
    """Run a function of a revision as Alembic does, without what shortsdb adds."""
    with EnvironmentContext(Config(), None, as_sql="output_buffer" in options) as environment:  # type: ignore[arg-type] # no revision is looked up
        environment.configure(**{"transactional_ddl": True, **options})
        with environment.begin_transaction(), Operations.context(environment.get_context()):
            change()


def _schema(connection: Connection) -> Schema:
    driver: Any = connection.connection.driver_connection
    return read_schema(driver, table_names(driver))


def _root_pages(connection: Connection) -> dict[str, int]:
    """Return where each table begins in the file; one that was rebuilt begins elsewhere."""
    tables = "SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"
    return {row.name: row.rootpage for row in connection.exec_driver_sql(tables)}


def _squawk(script: Script) -> Iterator[tuple[str, str]]:
    printed = StringIO()
    try:
        _run(
            script.module.upgrade,
            # One that builds an index CONCURRENTLY runs without a transaction.
            transactional_ddl=getattr(script.module, "transactional", True),
            dialect_name="postgresql",
            dialect_opts={"paramstyle": "named"},
            literal_binds=True,
            output_buffer=printed,
        )
    except Exception as error:  # noqa: BLE001 - a revision may raise anything
        yield "cannot-be-printed", f"upgrade() for PostgreSQL: {error}"
        return
    done = subprocess.run(
        [Path(sys.executable).parent / "squawk", "--reporter=json", "--pg-version=15", *_EXCLUDED],
        input=printed.getvalue(),
        capture_output=True,
        text=True,
        check=False,
    )
    for found in json.loads(done.stdout):
        yield found["rule_name"], " ".join(filter(None, (found["message"], found["help"])))


if __name__ == "__main__":
    findings = [Finding(path, "frozen", what) for path, what in changed().items()]
    findings += lint(alembic_config())
    sys.exit("\n".join(map(str, findings)) or 0)
