"""A real cluster for `failover`: Patroni, etcd and three PostgreSQL nodes on loopback.

From Debian's packages patroni, etcd-server and postgresql, run by an unprivileged user in a
temporary folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

PATIENCE = 240  # seconds until a cluster that does not recover is an error
_NODES = 3


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _tree(pid: int) -> list[int]:
    """Return a process and all that it has started, itself first."""
    with suppress(FileNotFoundError, ProcessLookupError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return [pid, *(each for child in children for each in _tree(int(child)))]
    return []


class Cluster:
    """Three nodes, one of which leads, and one of the others has every acknowledged commit."""

    def __enter__(self) -> Self:
        """Start it, and return when it is complete."""
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fo")))
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        etcd, peer, *ports = _free_ports(2 + 2 * _NODES)
        self._rest = dict(enumerate(ports[:_NODES]))
        self._ports = dict(enumerate(ports[_NODES:]))
        client = f"http://127.0.0.1:{etcd}"
        store = self._start(
            "etcd",
            *("etcd", "--data-dir", str(self.folder / "etcd"), "--listen-client-urls", client),
            *("--advertise-client-urls", client),
            *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
            *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
            *("--initial-cluster", f"default=http://127.0.0.1:{peer}"),
        )
        self._stack.callback(store.wait)
        self._stack.callback(store.kill)
        self._etcd = etcd
        self._processes = {node: self.start_node(node) for node in range(_NODES)}
        for node in self._processes:
            self._stack.callback(self.kill, node)
        try:
            self.wait(self.is_complete)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every process of it, and remove its folder."""
        self._stack.close()

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                arguments,
                user=self._user,
                group="nogroup" if self._user else None,
                extra_groups=[] if self._user else None,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start_node(self, node: int) -> subprocess.Popen[bytes]:
        """Start Patroni on a node, which starts PostgreSQL."""
        rest, port = f"127.0.0.1:{self._rest[node]}", f"127.0.0.1:{self._ports[node]}"
        programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
        users = {
            kind: {"username": name, "password": "-"}
            for kind, name in (("superuser", "shortsdb"), ("replication", "replicator"))
        }
        settings = {
            "scope": "shortsdb",
            "name": f"node{node}",
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"host": f"127.0.0.1:{self._etcd}"},
            "bootstrap": {
                "dcs": {
                    "ttl": 20,
                    "loop_wait": 2,
                    "retry_timeout": 5,
                    "synchronous_mode": True,
                    "postgresql": {"use_pg_rewind": True, "parameters": {"wal_log_hints": "on"}},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"],
            },
            "postgresql": {
                "listen": port,
                "connect_address": port,
                "data_dir": str(self.folder / f"data{node}"),
                "bin_dir": str(programs),
                "authentication": users,
                "pgpass": str(self.folder / f"pgpass{node}"),
                "parameters": {"unix_socket_directories": str(self.folder)},
                "pg_hba": [
                    f"host {each} all 127.0.0.1/32 trust" for each in ("all", "replication")
                ],
            },
        }
        file = self.folder / f"node{node}.json"  # which is YAML too
        file.write_text(json.dumps(settings), encoding="utf-8")
        return self._start(f"node{node}", "patroni", str(file))

    @property
    def url(self) -> str:
        """The URL of the cluster, whichever node leads."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports.values())
        return f"postgresql://shortsdb@{hosts}/postgres?target_session_attrs=read-write"

    def members(self) -> list[dict[str, Any]]:
        """Return what the first node that answers says of all of them; nothing if none does."""
        for port in self._rest.values():
            with suppress(OSError, ValueError):
                address = f"http://127.0.0.1:{port}/cluster"
                with urllib.request.urlopen(address, timeout=2) as answer:
                    members: list[dict[str, Any]] = json.load(answer)["members"]
                    return members
        return []

    def leader(self) -> int | None:
        """Return the node that leads."""
        names = [each["name"] for each in self.members() if each["role"] == "leader"]
        return int(names[0].removeprefix("node")) if names else None

    def is_complete(self) -> bool:
        """Return whether one leads, two follow, and one of these has every commit."""
        members = self.members()
        states = {each.get("state") for each in members}
        roles = sorted(each["role"] for each in members)
        return roles == ["leader", "replica", "sync_standby"] and states <= {"running", "streaming"}

    def wait(self, condition: Callable[[], bool]) -> float:
        """Wait until something is so, and return how many seconds that took."""
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > PATIENCE:
                logs = [
                    path.read_text(encoding="utf-8")[-2000:] for path in self.folder.glob("*.log")
                ]
                raise TimeoutError("\n".join([f"the cluster is {self.members()}", *logs]))
            time.sleep(0.2)
        return time.monotonic() - begun

    def kill(self, node: int) -> None:
        """End a node as a power cut does."""
        self.signal(node, signal.SIGKILL)
        self._processes[node].wait()

    def restart(self, node: int) -> None:
        """Start a node that was killed."""
        self._processes[node] = self.start_node(node)

    def signal(self, node: int, number: signal.Signals) -> None:
        """Send a signal to every process of a node."""
        pids = _tree(self._processes[node].pid)
        with suppress(FileNotFoundError):  # PostgreSQL is no child of Patroni
            file = self.folder / f"data{node}" / "postmaster.pid"
            pids += _tree(int(file.read_text(encoding="ascii").split()[0]))
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def switch_over(self, node: int) -> None:
        """Have another node lead."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._rest[node]}/switchover",
            json.dumps({"leader": f"node{node}"}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - our own, as above
