"""A connection until its first bytes, which decide who serves it.

A plain request for a WebSocket becomes a session in the same step, without aiohttp. Everything else is aiohttp's.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from aerostack_realtime.gateway.limits.connections import PendingSockets
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket import upgrade
from aerostack_realtime.gateway.websocket.upgrade import Upgrade
from aerostack_realtime.protocol.errors import RateLimited

Serve = Callable[[str, asyncio.TimerHandle], asyncio.Protocol]
"""Makes the HTTP protocol of a connection that counts as a pending socket of this address, and that the timer ends
unless a request is complete before."""


class Upgrades(Protocol):
    """What opens WebSockets: gateway.websocket.endpoint.WebSocketEndpoint."""

    def admits(self, request: Upgrade) -> bool:
        """Whether `open` may be called; otherwise aiohttp answers the request with the reason."""

    def open(self, request: Upgrade, transport: asyncio.Transport) -> None:
        """Take the transport over."""


class Opening(asyncio.Protocol):
    """It counts as a pending socket, and is closed when no bytes come in `handshake_seconds`. While it waits it is
    in `waiting`."""

    __slots__ = (
        "_address",
        "_deadline",
        "_limits",
        "_lobby",
        "_peer",
        "_serve",
        "_transport",
        "_upgrades",
        "_waiting",
    )

    def __init__(
        self,
        limits: Limits,
        pending_sockets: PendingSockets,
        upgrades: Upgrades | None,
        serve: Serve,
        waiting: "set[Opening]",
    ) -> None:
        self._limits = limits
        self._lobby = pending_sockets
        self._upgrades = upgrades
        self._serve = serve
        self._waiting = waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer: str | None = peer[0] if isinstance(peer, tuple) else None
        try:
            self._address = self._lobby.enter(self._peer)
        except RateLimited:
            self._transport.abort()
            return
        self._deadline = asyncio.get_running_loop().call_later(self._limits.handshake_seconds, transport.close)
        self._waiting.add(self)

    def data_received(self, data: bytes) -> None:
        if self not in self._waiting:
            return  # it was turned away
        self._waiting.discard(self)
        scheme = "http" if self._transport.get_extra_info("sslcontext") is None else "https"
        found = None if self._upgrades is None else upgrade.read(data, self._limits, self._peer, scheme)
        if found is not None and self._upgrades is not None and self._upgrades.admits(found):
            self._deadline.cancel()  # it would keep the connection in memory
            self._lobby.leave(self._address)
            self._upgrades.open(found, self._transport)
            return
        successor = self._serve(self._address, self._deadline)
        self._transport.set_protocol(successor)
        successor.connection_made(self._transport)
        successor.data_received(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self in self._waiting:
            self._waiting.discard(self)
            self._deadline.cancel()
            self._lobby.leave(self._address)

    def close(self) -> None:
        self._transport.close()
