"""An upgraded connection without a network: what it writes is kept, and frames go to a peer that keeps them."""

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket.protocol import WebSocketProtocol


class Network:
    """The transport: says what was done with it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.written: list[bytes] = []
        self.aborted = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.done.append("pause")

    def resume_reading(self) -> None:
        self.done.append("resume")

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")
        self.aborted.set()


class FrameHandler:
    """Records its calls; frames that begin with `wait` have to be awaited until `release` is called."""

    def __init__(self) -> None:
        self.received: list[object] = []
        self.shown: list[object] = []
        self.closed: int | None = None
        self.gone = 0
        self._release = asyncio.Event()

    def receive(self, frame: bytes) -> Awaitable[None] | None:
        self.received.append(frame)
        if frame == b"fail":
            raise RuntimeError("the peer is broken")
        return self._wait() if frame.startswith(b"wait") else None

    async def _wait(self) -> None:
        await self._release.wait()
        self._release.clear()
        self.received.append("waited")

    async def release(self) -> None:
        """Let what waits continue, up to its end."""
        self._release.set()
        for _ in range(3):
            await asyncio.sleep(0)

    def ahead(self, frame: bytes) -> None:
        self.shown.append(frame)

    def leaving(self) -> None:
        self.shown.append("leaving")

    def binary(self, _payload: bytes) -> None:
        self.received.append("binary")

    def pong(self, payload: bytes) -> None:
        self.received.append(("ping", payload))

    def control(self) -> None:
        self.received.append("pong")

    def close(self, code: int, reason: str) -> None:
        self.closed = code

    def lost(self) -> None:
        self.gone += 1


class Connection:
    def __init__(self, *, compression: bool = False) -> None:
        self.network = Network()
        self.peer = FrameHandler()
        self.left: list[WebSocketProtocol] = []
        self.socket = WebSocketProtocol(
            cast(Any, self.network), Limits(close_seconds=0), self.left.append, compression=compression
        )
        self.socket.serve(self.peer, b"first", b"")
