"""A connection as aiohttp speaks it, from the first byte on: HTTP, then perhaps WebSocket, with what both have to
keep to before there is anyone to complain to."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from aerostack_realtime.gateway import audit, headers
from aerostack_realtime.gateway.crowd import Lobby
from aerostack_realtime.gateway.framing import Breach, Framing
from aerostack_realtime.gateway.http import error_response
from aerostack_realtime.gateway.limits import Limits
from aerostack_realtime.protocol.errors import BadMessage, RateLimited

IDLE_SECONDS: Final = 75
"""How long a connection is kept for a next request: longer than proxies keep theirs, not aiohttp's hour."""


class Reader(Protocol):
    """What takes the bytes of a WebSocket: aiohttp's reader."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]: ...

    def feed_eof(self) -> None: ...


class Watched:
    """A reader whose client's framing is looked at first. After a breach, or when told so, it is fed no more: the
    bytes that still come are dropped, which is cheap, and loses no close frame to a reset."""

    __slots__ = ("_breach", "_deaf", "_framing", "_reader", "_report")

    def __init__(self, reader: Reader, framing: Framing) -> None:
        self._reader = reader
        self._framing = framing
        self._deaf = False
        self._breach: Breach | None = None
        self._report: Callable[[Breach], None] | None = None

    def report(self, report: Callable[[Breach], None]) -> None:
        """Call `report` on a breach, also on one that has been."""
        self._report = report
        if self._breach is not None:
            report(self._breach)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._deaf:
            return False, b""
        self._breach = self._framing.feed(data)
        if self._breach is None:
            return self._reader.feed_data(data)
        self._deaf = True
        if self._report is not None:
            self._report(self._breach)
        return False, b""

    def deafen(self) -> None:
        self._deaf = True

    def feed_eof(self) -> None:
        self._reader.feed_eof()


class Connection(RequestHandler):
    """aiohttp's connection with our limits. It is in the lobby until it is a WebSocket or over, and it is ended
    when no request has come in `handshake_seconds`."""

    __slots__ = ("_address", "_deadline", "_limits", "_lobby", "_over", "_watched")

    def __init__(self, server: web.Server, limits: Limits, lobby: Lobby) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=cast(Any, None),  # none, although its type says otherwise
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            max_headers=limits.headers,
        )
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._lobby = lobby
        self._address: str | None = None
        self._watched: Watched | None = None
        self._over: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        peer = peer[0] if isinstance(peer, tuple) else None
        try:
            self._address = self._lobby.enter(peer)
        except RateLimited:
            cast(asyncio.Transport, transport).abort()
        else:
            super().connection_made(transport)
            self._end_by(self._limits.handshake_seconds, transport.close)

    def asked(self) -> None:
        """A whole head of a request has come."""
        self._end_by(None)

    def hang_up(self) -> None:
        """End it once the peer has answered the close frame, or after `close_seconds` if it does not."""
        if self.transport is not None:
            self._end_by(self._limits.close_seconds, self.transport.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end_by(None)  # or the timer would keep the connection in memory, of which a flood makes thousands
        self._leave()
        if self._over is not None and not self._over.done():
            self._over.set_result(None)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no request. aiohttp would log and echo the bytes that it did not understand, in which
        there may be a credential."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        audit.record("refused", address=request.remote, reason=BadMessage.code)
        response = error_response(BadMessage("This is no HTTP/1.1 request, or its head is beyond the limits."))
        response.set_status(431 if isinstance(exc, LineTooLong) else status)
        headers.protect(response, secure=request.secure)
        response.force_close()
        return response

    def set_parser(self, parser: Any, data_received_cb: Callable[[], None] | None = None) -> None:
        """It is a WebSocket from here on."""
        self._leave()
        self._watched = Watched(parser, Framing(self._limits.fragments))
        super().set_parser(cast(Any, self._watched), data_received_cb)

    def watch(self, report: Callable[[Breach], None]) -> None:
        """Call `report` when the WebSocket's client does not keep to the framing it has to."""
        assert self._watched is not None, "it is a WebSocket by now"
        self._watched.report(report)

    async def deafen(self) -> None:
        """Take no more from the WebSocket's client, neither what is still to come nor what has come, and wait
        until the connection is over."""
        if self._watched is not None and self.transport is not None:
            self._watched.deafen()
            self.resume_reading()  # or its end would not be noticed
            self._over = self._loop.create_future()
            await self._over

    def _end_by(self, seconds: float | None, end: Callable[[], None] | None = None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None or end is None else self._loop.call_later(seconds, end)

    def _leave(self) -> None:
        if self._address is not None:
            self._lobby.leave(self._address)
            self._address = None
