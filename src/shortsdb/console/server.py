"""Serve the console on an address of this machine."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import socket
from contextlib import closing, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from shortsdb.errors import OperationRefused
from shortsdb.extras import extra

with extra("console", "uvicorn"):
    import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OperationRefused: The port is in use, or the host is not one of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OperationRefused(
                f"port {port} of {host} is in use; choose another with --port"
            ) from error
        raise OperationRefused(
            f"the console cannot listen on {host}, port {port}: {error.strerror}"
        ) from error
    # asyncio sets it only on sockets that name their protocol, and without it the second part of an
    # answer waits 40 ms for the acknowledgement of the first. Accepted sockets inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until the process is interrupted or terminated."""

    async def cancellable(scope: Scope, receive: Receive, send: Send) -> None:
        # At the end uvicorn cancels what still runs, and would log a traceback of it.
        with suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    server = uvicorn.Server(
        uvicorn.Config(
            cancellable,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,  # addresses hold what was searched for
            server_header=False,
            timeout_graceful_shutdown=3,
        )
    )
    with closing(listener), suppress(KeyboardInterrupt):
        # The command is one operation; here each request is, so it must not inherit the id.
        contextvars.Context().run(server.run, sockets=[listener])
