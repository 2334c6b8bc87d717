"""A PgBouncer for tests: real, temporary, in transaction mode, run by an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg

if TYPE_CHECKING:
    from types import TracebackType

    from postgresql_server import Database, Server

_START_SECONDS = 60


def _program() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise RuntimeError("pgbouncer is not installed: install Debian's pgbouncer")
    return found


class Pooler:
    """A pooler in front of a server; all clients share `pool_size` connections per database."""

    def __init__(self, server: Server, pool_size: int = 1) -> None:
        """Pool connections to the running `server`."""
        self._server = server
        self._pool_size = pool_size
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the pooler, and wait until it answers."""
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pb")))
        user = "nobody" if os.geteuid() == 0 else None
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={self._server.folder} user=shortsdb\n"
            f"[pgbouncer]\nunix_socket_dir = {self.folder}\nlisten_port = 5432\n"
            f"pool_mode = transaction\ndefault_pool_size = {self._pool_size}\nauth_type = any\n"
            f"logfile = {self.folder / 'log'}\n"
        )
        if user:
            shutil.chown(self.folder, user)
        process = subprocess.Popen(
            [_program(), "-q", settings],
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        give_up = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(f"host={self.folder} user=shortsdb dbname=postgres").close()
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > give_up:
                    self._stack.close()
                    raise
                time.sleep(0.02)
            else:
                return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it."""
        self._stack.close()

    def url(self, database: Database) -> str:
        """Return the URL of a database through the pooler."""
        return f"postgresql+psycopg://shortsdb@/{database.name}?host={self.folder}"
