"""The upgrade of a request to a WebSocket (RFC 6455 §4)."""

import asyncio
import hashlib
from binascii import b2a_base64
from typing import Any, Final, cast

from aiohttp import hdrs, web

from aerostack_realtime.gateway.websocket.upgrade import ConnectRequest

_SALT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_SHA1: Final = hashlib.sha1(usedforsecurity=False)
"""Copied for each request, since making one takes a third of an answer."""


def proper(request: web.Request, protocols: list[str]) -> bool:
    """Whether this is a request for a WebSocket, as aiohttp sees it; `protocols` are those it offers."""
    return web.WebSocketResponse(protocols=protocols).can_prepare(request).ok


def answer(request: ConnectRequest, protocol: str | None, extensions: str | None) -> bytes:
    """The head that accepts a proper request, with one of its protocols and some of its extensions."""
    hashed = _SHA1.copy()
    hashed.update(request.headers[hdrs.SEC_WEBSOCKET_KEY].encode() + _SALT)
    accept = b2a_base64(hashed.digest(), newline=False).decode()
    selected = "" if protocol is None else f"Sec-WebSocket-Protocol: {protocol}\r\n"
    if extensions is not None:
        selected += f"Sec-WebSocket-Extensions: {extensions}\r\n"
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{selected}\r\n"
    ).encode(errors="surrogateescape")


class Taken(web.StreamResponse):
    """The answer for aiohttp to a request whose transport was taken over: nothing is left to send."""

    @property
    def prepared(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """It is sent."""

    async def write_eof(self, data: Any = b"") -> None:
        """It is sent."""


class _Rest:
    """Keeps the bytes after the request, where aiohttp expects the parser of an upgraded connection."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing ends here."""


def take_over(request: web.Request, transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> bytes:
    """Hand the transport of a request to `protocol`, and return what came behind the request.

    To aiohttp the connection is lost, so it forgets all that it held for it: the parser of requests, two tasks,
    the request.
    """
    connection, rest = request.protocol, _Rest()
    connection.set_parser(cast(Any, rest))
    transport.set_protocol(protocol)
    connection.transport = None
    connection.connection_lost(None)
    return rest.data
