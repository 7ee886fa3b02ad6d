"""The listening socket, and the guard against connections that never become a request."""

import asyncio
import socket
import ssl
from functools import partial
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from aerostack_realtime.gateway import audit
from aerostack_realtime.gateway.http_protocol import HttpProtocol, merging_slashes
from aerostack_realtime.gateway.limits.connections import PendingSockets
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.opening import Opening, Upgrades, Waiting
from aerostack_realtime.protocol.errors import RateLimited

BACKLOG: Final = 4096
"""Connections the kernel queues while the loop is busy: a fleet of clients that returns comes at once."""
ACCEPTS: Final = 8
"""Connections that one iteration of the event loop accepts. libuv accepts one per watched descriptor, so each
connection of a fleet that returns would cost an iteration."""


class Listener:
    """Serves an application on one address, for WebSocket and HTTP alike. `upgrades` takes plain requests for a
    WebSocket, which the application never sees.

    A connection that has not sent a whole request head within the limits' `handshake_seconds` is closed; a request
    whose body takes longer than that is answered with 408.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        limits: Limits,
        pending_sockets: PendingSockets,
        shutdown_seconds: float,
        upgrades: Upgrades | None = None,
    ) -> None:
        app.middlewares.insert(0, self._mark)
        app.middlewares.append(self._read)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_seconds)
        self._limits = limits
        self._lobby = pending_sockets
        self._upgrades = upgrades
        loop = asyncio.get_running_loop()
        self._waiting = Waiting(limits, loop.time, loop.call_at)
        self._servers: list[asyncio.Server] = []

    async def bind(self, host: str, port: int, tls: ssl.SSLContext | None = None, *, shared: bool = False) -> int:
        """Take the address, and return the port (the one the system chose when `port` is 0). Raises OSError.

        Connections are refused until `start`. With `shared` other processes of this user may take it as well.
        """
        await self._runner.setup()
        server = self._runner.server
        assert server is not None, "the runner was set up"
        server.request_factory = merging_slashes(server.request_factory)
        loop = asyncio.get_running_loop()
        serve = partial(
            loop.create_server,
            self._protocol,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else self._limits.handshake_seconds,
            backlog=BACKLOG,
            start_serving=False,
        )
        first = await serve(host, port, reuse_port=shared or None)
        self._servers.append(first)
        for each in first.sockets:
            for _ in range(ACCEPTS - 1):
                copy = socket.fromfd(each.fileno(), each.family, each.type)
                self._servers.append(await serve(sock=copy))
        chosen: int = first.sockets[0].getsockname()[1]
        return chosen

    async def start(self) -> None:
        """Accept connections. Raises OSError."""
        assert self._servers, "it is bound first"
        for each in self._servers:
            await each.start_serving()

    def stop_accepting(self) -> None:
        for each in self._servers:
            each.close()

    def tick(self) -> None:
        """Write down who was turned away; call it about once a second. A line for each socket would be a flood
        of its own."""
        for address, sockets in self._lobby.turned_away().items():
            audit.record("refused", address=address, reason=RateLimited.code, sockets=sockets)

    async def close(self) -> None:
        self.stop_accepting()
        self.tick()
        self._waiting.close()
        await self._runner.cleanup()

    def _protocol(self) -> asyncio.Protocol:
        return Opening(self._limits, self._lobby, self._upgrades, self._http, self._waiting)

    def _http(self, address: str, deadline: asyncio.TimerHandle) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None, "the runner was set up before it listens"
        return HttpProtocol(server, self._limits, self._lobby, address, deadline)

    @web.middleware
    async def _mark(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        assert isinstance(request.protocol, HttpProtocol), "the listener makes no other"
        request.protocol.asked()
        return await handler(request)

    @web.middleware
    async def _read(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.body_exists:
            try:
                async with asyncio.timeout(self._limits.handshake_seconds):
                    await request.read()
            except TimeoutError:
                raise web.HTTPRequestTimeout from None
            except (ConnectionError, web.RequestPayloadError):
                raise web.HTTPBadRequest from None  # it went away, or its chunks are none
        return await handler(request)
