"""The listening socket, and the guard against connections that never become a request."""

import asyncio
import ssl
from collections import OrderedDict
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

BACKLOG: Final = 4096
"""Connections the kernel queues while the loop is busy: a fleet of clients that returns comes at once."""
IDLE_SECONDS: Final = 75
"""How long a connection is kept for a next request: longer than proxies keep theirs, not aiohttp's hour."""


class Listener:
    """Serves an application on one address, for WebSocket and HTTP alike.

    A connection that has not sent a whole request head within `handshake_seconds` is closed; a request whose
    body takes longer than that is answered with 408.
    """

    def __init__(self, app: web.Application, *, handshake_seconds: float, shutdown_seconds: float) -> None:
        app.middlewares.insert(0, self._mark)
        app.middlewares.append(self._read)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=shutdown_seconds, keepalive_timeout=IDLE_SECONDS
        )
        self._handshake_seconds = handshake_seconds
        self._silent: OrderedDict[RequestHandler, float] = OrderedDict()
        self._looking = False
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen, and return the port (the one the system chose when `port` is 0). Raises OSError."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol,
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else self._handshake_seconds,
            backlog=BACKLOG,
        )
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    def stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        self.stop_accepting()
        await self._runner.cleanup()

    def _protocol(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None, "the runner was set up before it listens"
        protocol: RequestHandler = server()
        self._silent[protocol] = asyncio.get_running_loop().time() + self._handshake_seconds
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(self._handshake_seconds, self._give_up)
        return protocol

    def _give_up(self) -> None:
        """Close who has been silent for too long: they are in the order in which they came, so that one timer does
        for all, and nothing is kept of who has spoken."""
        loop = asyncio.get_running_loop()
        while self._silent:
            protocol, until = next(iter(self._silent.items()))
            if until > loop.time():
                loop.call_at(until, self._give_up)
                return
            del self._silent[protocol]
            if protocol.transport is not None:
                protocol.transport.close()
        self._looking = False

    @web.middleware
    async def _mark(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._silent.pop(request.protocol, None)
        return await handler(request)

    @web.middleware
    async def _read(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.body_exists:
            try:
                async with asyncio.timeout(self._handshake_seconds):
                    await request.read()
            except TimeoutError:
                raise web.HTTPRequestTimeout from None
        return await handler(request)
