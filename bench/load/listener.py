"""A connection to our server whose every frame is handed on with the time it came."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import cast

from bench.load import websocket
from bench.load.dialects import Aerostack, Exchange
from bench.load.handshake import enter


class _Opened(Aerostack):
    """Ours, with a first frame of one's own."""

    def __init__(self, subscribe: bytes | None) -> None:
        self._subscribe = subscribe

    def setup(self, channel: str | None) -> list[Exchange]:  # noqa: ARG002  (the frame names it)
        steps = super().setup(None)
        return steps if self._subscribe is None else [*steps, Exchange(self._subscribe, b'"type":"subscribed"')]


class Listener(asyncio.Protocol):
    """Calls `heard(content, time)` for each text frame; `time` is CLOCK_MONOTONIC in seconds. `gone` is set when
    the connection has ended, on either side."""

    def __init__(self, heard: Callable[[bytes, float], None]) -> None:
        self.gone = asyncio.Event()
        self._heard = heard
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        data = self._data + data
        at = 0
        while frame := websocket.decode(data, at):
            at = frame.end
            if frame.opcode == websocket.TEXT:
                self._heard(frame.content, now)
            elif frame.opcode == websocket.PING:
                self.send(websocket.encode(frame.content, websocket.PONG))
            elif frame.opcode == websocket.CLOSE:
                self.send(websocket.encode(frame.content, websocket.CLOSE))
        self._data = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (it is gone either way)
        self.gone.set()

    def send(self, frame: bytes) -> None:
        """Write a frame as it is."""
        if self._transport is not None:
            self._transport.write(frame)

    def pause(self, seconds: float) -> None:
        """Read nothing for `seconds`."""
        if self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """End the connection without a closing handshake."""
        if self._transport is not None:
            self._transport.abort()


async def listen(host: str, port: int, subscribe: bytes | None, heard: Callable[[bytes, float], None]) -> Listener:
    """A connection that has sent the frame `subscribe` and has received `subscribed`."""
    listener = Listener(heard)
    await enter(_Opened(subscribe), host, port, None, listener)
    return listener
