"""One subscriber: its bytes are compared with its channel's stream as they arrive."""

import asyncio
from array import array
from collections.abc import Callable
from time import monotonic
from typing import cast

from bench.load import websocket
from bench.load.dialects import Dialect
from bench.load.stream import Stream


class Subscriber(asyncio.Protocol):
    """Where one message is one frame. `position` is how many bytes of the stream this subscriber has.

    With `timed`, `times` and `positions` note when each read brought it how far.
    """

    def __init__(self, dialect: Dialect, stream: Stream, timed: bool) -> None:
        self.dialect = dialect
        self.stream = stream
        self.position = 0
        self.broken = False
        self.closing = False
        self.times: array[float] | None = array("d") if timed else None
        self.positions: array[int] = array("q")
        self._tail = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        stream = self.stream
        before = self.position
        if not self._tail and stream.raw.startswith(data, before):
            after = self.position = before + len(data)
        else:
            self._resolve(data)
            after = self.position
        if self.times is not None:
            self.times.append(monotonic())
            self.positions.append(after)
        stream.received += after - before
        if stream.received >= stream.refill_at:
            stream.refill()

    def _resolve(self, data: bytes) -> None:
        """The careful way, for bytes that are new to the stream, that end within a new message, or that
        differ.
        """
        if self.broken:
            return
        stream = self.stream
        data, self._tail = self._tail + data, b""
        known = stream.raw[self.position : self.position + len(data)]
        if data.startswith(known):
            self.position += len(known)
            data = data[len(known) :]
        elif (begin := stream.begin(self.position)) != self.position:
            rest = stream.raw[self.position : stream.end(begin)]
            if not data.startswith(rest[: len(data)]):
                self._break(data, "differs within a message")
                return
            self.position += len(rest)
            data = data[len(rest) :]
        at = 0
        while at < len(data) and not self.broken:
            end = self._end(data, at)
            if not end:
                break
            unit = data[at:end]
            if not self._aside(unit):
                self._take(unit)
            at = end
        self._tail = data[at:]

    def _take(self, unit: bytes) -> None:
        stream = self.stream
        if self.position == len(stream.raw):
            stream.append(unit)
        elif not stream.raw.startswith(unit, self.position):
            self._break(unit, "loss, repetition or reordering")
            return
        self.position += len(unit)

    def _break(self, data: bytes, what: str) -> None:
        number = self.stream.whole(self.position)
        self.broken = True
        self.stream.faults.add(f"{self.stream.name}: {what} where message {number} was due: {data[:200]!r}")

    def _end(self, data: bytes, at: int) -> int:
        """Where the unit at `at` ends, 0 while it is incomplete."""
        end = websocket.bounds(data, at)[1]
        return end if end <= len(data) else 0

    def _aside(self, unit: bytes) -> bool:
        """Whether the unit is a heartbeat and not a message, which is answered here."""
        frame = websocket.decode(unit, 0)
        assert frame is not None
        if frame.opcode == websocket.PING:
            self.send(websocket.encode(frame.content, websocket.PONG))
            return True
        reply = self.dialect.answer(frame.content) if frame.opcode < websocket.CLOSE else b""
        if reply:
            self.send(websocket.encode(reply, self.dialect.opcode))
        if frame.opcode == websocket.CLOSE:
            self._break(frame.content, "the server closed")
        return reply is not None

    def send(self, frame: bytes) -> None:
        """Write a frame as it is."""
        if self._transport is not None:
            self._transport.write(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closing and not self.broken:
            self._break(b"", f"the connection was lost ({exc!r})")

    def close(self) -> None:
        """End the connection without a closing handshake."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()


class LooseSubscriber(Subscriber):
    """Where the server cuts messages into frames as it likes: compared without the frame headers."""

    def __init__(self, dialect: Dialect, stream: Stream, timed: bool) -> None:
        super().__init__(dialect, stream, timed)
        self._feed: Callable[[bytes], bytes] = websocket.Deframer(dialect.terminator).feed

    def data_received(self, data: bytes) -> None:
        super().data_received(self._feed(data))

    def _end(self, data: bytes, at: int) -> int:
        return self.dialect.unit(data, at)

    def _aside(self, unit: bytes) -> bool:
        reply = self.dialect.answer(unit)
        if reply:
            self.send(websocket.encode(reply, self.dialect.opcode))
        return reply is not None


def subscriber(dialect: Dialect, stream: Stream, timed: bool) -> Subscriber:
    """The kind of subscriber that `dialect` needs."""
    return (Subscriber if dialect.framed else LooseSubscriber)(dialect, stream, timed)
