"""A client that attacks: it sends one kind of thing as fast as it can, and reconnects when it is disconnected.

`python -m bench.load.flooder KIND HOST PORT SECONDS CORE` prints the result as JSON. It uses another
address than the client that behaves.
"""

import asyncio
import os
import socket
import sys
from contextlib import suppress
from time import monotonic
from typing import Final

import msgspec
import uvloop
from msgspec import Struct, field

from bench.load import websocket

ADDRESS: Final = "127.0.0.2"
_AT_ONCE: Final = 4
_TARGET: Final = "/api/realtime?projectId=default"
_PUBLISH: Final = b'{"type":"publish","topic":"flood/%s","event":"e","data":"%s"}'
_OPEN_END, _EMPTY_PART = b"\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0"

STREAMS: Final[dict[str, bytes]] = {
    "messages": websocket.encode(_PUBLISH % (b"room", b"x")) * 500,
    "bytes": websocket.encode(_PUBLISH % (b"room", b"x" * 60_000)) * 8,
    "bad messages": websocket.encode(b"not json") * 500,
    "control frames": websocket.encode(b"", websocket.PING) * 500,
    "fragments": _OPEN_END + _EMPTY_PART * 2_000,
    "subscriptions": b"".join(
        websocket.encode(b'{"type":"subscribe","topic":"flood/%d","since":"x.1"}' % each) for each in range(500)
    ),
}
"""What is sent over a WebSocket again and again."""
CALL: Final = b"GET /api/v1/public/realtime/history?room=a/b HTTP/1.1\r\nHost: x\r\n\r\n" * 20
KINDS: Final = (*STREAMS, "connects", "half handshakes", "calls")


class Cost(Struct):
    """What the flood came to: connections made, bytes that left, and how connections ended (close code, or
    `cut`)."""

    connections: int = 0
    sent: int = 0
    ends: dict[str, int] = field(default_factory=dict)

    def end(self, how: str) -> None:
        self.ends[how] = self.ends.get(how, 0) + 1


class Flooder:
    """Floods `host:port` until `until` (CLOCK_MONOTONIC)."""

    def __init__(self, kind: str, host: str, port: int, until: float) -> None:
        self.cost = Cost()
        self._kind = kind
        self._address = (host, port)
        self._until = until
        self._held: list[socket.socket] = []

    async def run(self) -> None:
        """Open the next connection, whatever happened to the last one."""
        while monotonic() < self._until:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._connection()

    async def _connection(self) -> None:
        peer = socket.socket()
        peer.setblocking(False)
        peer.bind((ADDRESS, 0))
        loop = asyncio.get_running_loop()
        await loop.sock_connect(peer, self._address)
        self.cost.connections += 1
        if self._kind == "half handshakes":
            await loop.sock_sendall(peer, b"GET /api/realtime HTTP/1.1\r\nHost: x\r\nX: ")
            self._held.append(peer)
            return
        try:
            if self._kind != "calls":
                await loop.sock_sendall(peer, websocket.request(*self._address, _TARGET, None))
                if b" 101 " not in await loop.sock_recv(peer, 65_536):
                    self.cost.end("not upgraded")
                    return
            if self._kind != "connects":
                await self._pour(peer, STREAMS.get(self._kind, CALL))
        finally:
            peer.close()

    async def _pour(self, peer: socket.socket, data: bytes) -> None:
        """Send the data again and again, and read what is answered, until either ends."""
        loop = asyncio.get_running_loop()
        reading = asyncio.create_task(self._ended(peer))
        try:
            while monotonic() < self._until and not reading.done():
                sending = asyncio.create_task(loop.sock_sendall(peer, data))
                await asyncio.wait(
                    [sending, reading],
                    timeout=self._until - monotonic(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not sending.done():
                    sending.cancel()
                    break
                sending.result()
                self.cost.sent += len(data)
        finally:
            if reading.done() and not reading.cancelled():
                self.cost.end(reading.result())
            reading.cancel()

    async def _ended(self, peer: socket.socket) -> str:
        """How the server ends the connection: by which close code, or `cut`."""
        loop = asyncio.get_running_loop()
        tail = b""
        with suppress(OSError):
            while data := await loop.sock_recv(peer, 262_144):
                tail = (tail + data)[-200:]
                if (at := tail.rfind(b"\x88")) >= 0 and len(tail) >= at + 4 and tail[at + 1] == len(tail) - at - 2:
                    return str(int.from_bytes(tail[at + 2 : at + 4]))
        return "cut"


async def flood(kind: str, host: str, port: int, seconds: float) -> Cost:
    flooder = Flooder(kind, host, port, monotonic() + seconds)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(flooder.run() for _ in range(_AT_ONCE)))
    return flooder.cost


def main() -> None:
    """Flood from the generator's core."""
    kind, host, port, seconds, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        cost = runner.run(flood(kind, host, int(port), float(seconds)))
    print(msgspec.json.encode(cost).decode())


if __name__ == "__main__":
    main()
