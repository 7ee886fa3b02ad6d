"""The set-up of a connection: upgrade, the dialect's steps, then a successor takes over."""

import asyncio
import zlib
from typing import cast

from bench.load import websocket
from bench.load.dialects import Dialect

_SETUP_S = 60.0
_COMPRESSED = 0x40
_TAIL = b"\x00\x00\xff\xff"
"""The end of a compressed message, left out on the wire (RFC 7692 §7.2.1)."""


class Refused(ConnectionError):
    """The server did not let the connection in."""


class Handshake(asyncio.Protocol):
    """`done` holds until the steps are through; from then on `successor` receives what the server sends."""

    def __init__(self, dialect: Dialect, request: bytes, channel: str | None, successor: asyncio.Protocol) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._dialect = dialect
        self._request = request
        self._steps = dialect.setup(channel)
        self._successor = successor
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._upgraded = False
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._upgraded and not self._upgrade():
            return
        while self._steps and (frame := websocket.decode(self._data, 0)):
            if self._data[0] & _COMPRESSED:
                frame = frame._replace(content=self._inflater.decompress(frame.content + _TAIL))
            self._data = self._data[frame.end :]
            self._receive(frame)
        if not self._steps and not self.done.done():
            self._leave()

    def _upgrade(self) -> bool:
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 101") or websocket.ACCEPT not in head:
            self._refuse(head)
            return False
        self._data = rest
        self._upgraded = True
        if self._steps:
            self._say()
        return True

    def _receive(self, frame: websocket.Frame) -> None:
        if frame.opcode == websocket.CLOSE:
            self._refuse(frame.content)
        elif self._steps[0].until in frame.content:
            self._steps.pop(0)
            if self._steps:
                self._say()
        elif b'"error"' in frame.content or frame.content.startswith((b"-ERR", b"44")):
            self._refuse(frame.content)

    def _say(self) -> None:
        say = self._steps[0].say
        if say is not None and self._transport is not None:
            self._transport.write(websocket.encode(say, self._dialect.opcode))

    def _leave(self) -> None:
        assert self._transport is not None
        self._transport.set_protocol(self._successor)
        self._successor.connection_made(self._transport)
        if self._data:
            self._successor.data_received(self._data)
        self.done.set_result(None)

    def _refuse(self, answer: bytes) -> None:
        self._steps = []
        if not self.done.done():
            self.done.set_exception(Refused(f"the server answered {answer[:300]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(Refused(f"the server hung up during set-up ({exc!r})"))


async def enter(
    dialect: Dialect,
    host: str,
    port: int,
    channel: str | None,
    successor: asyncio.Protocol,
    extensions: str | None = None,
) -> None:
    """Connect, offering `extensions`, get subscribed to `channel` (None: only connect) and hand the connection to
    `successor`.

    Raises Refused when the server says no, TimeoutError after 60 s.
    """
    request = websocket.request(host, port, dialect.target, dialect.offered(), extensions)
    handshake = Handshake(dialect, request, channel, successor)
    try:
        async with asyncio.timeout(_SETUP_S):
            await asyncio.get_running_loop().create_connection(lambda: handshake, host, port)
            await handshake.done
    except TimeoutError:
        raise TimeoutError(f"not connected and subscribed within {_SETUP_S:.0f} s") from None
