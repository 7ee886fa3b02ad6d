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


class Waiting:
    """The connections that have not sent anything yet: each is closed after `handshake_seconds`.

    One timer serves all of them, since a timer for each is a tenth of what accepting a connection costs. `now` is
    in seconds, and `call_at` takes such a time, as those of an event loop.
    """

    def __init__(
        self, limits: Limits, now: Callable[[], float], call_at: Callable[[float, Callable[[], None]], object]
    ) -> None:
        self._limits = limits
        self._now = now
        self._call_at = call_at
        self._since: dict[Opening, float] = {}
        """When they came; the oldest one is the first."""
        self._is_timed = False

    def __len__(self) -> int:
        return len(self._since)

    def add(self, opening: "Opening") -> None:
        self._since[opening] = now = self._now()
        if not self._is_timed:
            self._is_timed = True
            self._call_at(now + self._limits.handshake_seconds, self._close_late)

    def remove(self, opening: "Opening") -> float | None:
        """It waits no more. Returns when its time is up; None if it was not waiting."""
        since = self._since.pop(opening, None)
        return None if since is None else since + self._limits.handshake_seconds

    def close(self) -> None:
        """Close all of them."""
        for each in list(self._since):
            each.close()

    def _close_late(self) -> None:
        seconds = self._limits.handshake_seconds
        for opening, since in list(self._since.items()):
            if since + seconds > self._now():
                self._call_at(since + seconds, self._close_late)
                return
            opening.close()
        self._is_timed = False


class Opening(asyncio.Protocol):
    """It counts as a pending socket, and is in `waiting` until bytes come."""

    __slots__ = (
        "_address",
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
        waiting: Waiting,
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
        self._waiting.add(self)

    def data_received(self, data: bytes) -> None:
        deadline = self._waiting.remove(self)
        if deadline is None:
            return  # it was turned away
        scheme = "http" if self._transport.get_extra_info("sslcontext") is None else "https"
        found = None if self._upgrades is None else upgrade.read(data, self._limits, self._peer, scheme)
        if found is not None and self._upgrades is not None and self._upgrades.admits(found):
            self._lobby.leave(self._address)
            self._upgrades.open(found, self._transport)
            return
        timer = asyncio.get_running_loop().call_at(deadline, self._transport.close)
        successor = self._serve(self._address, timer)
        self._transport.set_protocol(successor)
        successor.connection_made(self._transport)
        successor.data_received(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._waiting.remove(self) is not None:
            self._lobby.leave(self._address)

    def close(self) -> None:
        self._transport.close()
