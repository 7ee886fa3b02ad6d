"""HTTP/1.1 on one kept connection, requests answered in order: lighter than a library, so that it costs little."""

import asyncio
from collections import deque
from time import monotonic
from typing import Any, cast

import msgspec

_KEY = "ac_secret_dev"
"""What `aerostack dev` accepts."""


class Caller(asyncio.Protocol):
    """`post` and `get` give the body and the time it was complete (CLOCK_MONOTONIC, seconds)."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[tuple[bytes, float]]] = deque()
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def post(self, path: str, body: Any) -> "asyncio.Future[tuple[bytes, float]]":
        """Send `body` as JSON."""
        return self._ask("POST", path, msgspec.json.encode(body))

    def get(self, path: str) -> "asyncio.Future[tuple[bytes, float]]":
        """Ask for `path`."""
        return self._ask("GET", path, b"")

    def _ask(self, method: str, path: str, body: bytes) -> "asyncio.Future[tuple[bytes, float]]":
        assert self._transport is not None
        answer: asyncio.Future[tuple[bytes, float]] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {_KEY}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        return answer

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        self._data += data
        while self._waiting:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            lower = head.lower()
            length = int(lower.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            if len(rest) < length:
                return
            self._data = rest[length:]
            answer = self._waiting.popleft()
            if b" 200 " in head.split(b"\r\n", 1)[0]:
                answer.set_result((rest[:length], now))
            else:
                answer.set_exception(RuntimeError(f"the server answered {head[:60]!r} {rest[:300]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        for answer in self._waiting:
            answer.set_exception(ConnectionError(f"the connection was lost ({exc!r})"))

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()


async def call(host: str, port: int) -> Caller:
    """A new connection."""
    _, caller = await asyncio.get_running_loop().create_connection(Caller, host, port)
    return caller
