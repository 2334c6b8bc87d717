"""Send requests to an ASGI application without a server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from fastapi import FastAPI


def ask(app: FastAPI, *paths: str, method: str = "GET") -> list[httpx.Response]:
    """Return the answers to requests, one after another; the application is not started."""

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [await client.request(method, path) for path in paths]

    return asyncio.run(main())
