"""A subscriber in its own process that expects a number of changes of the benchmarks' table, once and in order.

`python -m bench.load.counting_subscriber HOST PORT COUNT [CUSTOMER]`, for one customer or all, prints `ready` when
it is subscribed. Then it prints, as JSON, when the last change arrived (CLOCK_MONOTONIC in s), how often it was
disconnected and resumed by its cursor, and how many gaps were reported. A repeated change or one out of order ends
it with an error.
"""

import asyncio
import os
import sys

import msgspec
import uvloop
from msgspec import Struct

from bench.load import websocket
from bench.load.dialects import Aerostack, Exchange
from bench.load.handshake import enter
from bench.load.listener import Listener
from bench.load.writer import TABLE
from bench.machine import LOAD_CORE


class Counts(Struct, frozen=True):
    """What the subscriber reports."""

    last: float
    returns: int
    gaps: int


class _Row(Struct):
    id: int


class _Frame(Struct):
    type: str
    cursor: str = ""
    recovered: bool | None = None
    data: _Row | None = None


class _Connected(Aerostack):
    """Ours, with a subscription whose answer is left to the successor."""

    def setup(self, channel: str | None) -> list[Exchange]:  # noqa: ARG002  (the subscriber subscribes later)
        return super().setup(None)


class CountingSubscriber:
    """Counts down from `count` changes, over every loss of its connection."""

    def __init__(self, host: str, port: int, count: int, customer: int | None) -> None:
        self._address = host, port
        self._left = count
        self._filter = {} if customer is None else {"customer": customer}
        self._decode = msgspec.json.Decoder(_Frame).decode
        self._cursor: str | None = None
        self._seen = 0
        self._gaps = 0
        self._done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.subscribed = asyncio.Event()

    async def count(self) -> Counts:
        """Return with the last change."""
        connections = 0
        while not self._done.done():
            connections += 1
            listener = Listener(self._hear)
            await enter(_Connected(), *self._address, None, listener)
            command = {"type": "subscribe", "topic": TABLE, "filter": self._filter, "since": self._cursor}
            listener.send(websocket.encode(msgspec.json.encode(command)))
            gone = asyncio.ensure_future(listener.gone.wait())
            await asyncio.wait((self._done, gone), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            listener.close()
        return Counts(self._done.result(), connections - 1, self._gaps)

    def _hear(self, content: bytes, now: float) -> None:
        frame = self._decode(content)
        if frame.type == "subscribed":
            self._gaps += frame.recovered is False
            self.subscribed.set()
        elif frame.data is None or self._done.done():
            return
        elif frame.data.id <= self._seen:
            self._done.set_exception(ValueError(f"row {frame.data.id} came after row {self._seen}"))
        else:
            self._seen = frame.data.id
            self._left -= 1
            if not self._left:
                self._done.set_result(now)
        self._cursor = frame.cursor


async def main() -> None:
    """Watch on the generator's core."""
    host, port, count, *customer = sys.argv[1:]
    subscriber = CountingSubscriber(host, int(port), int(count), int(customer[0]) if customer else None)
    counts = asyncio.ensure_future(subscriber.count())
    await subscriber.subscribed.wait()
    print("ready", flush=True)
    print(msgspec.json.encode(await counts).decode())


if __name__ == "__main__":
    os.sched_setaffinity(0, {LOAD_CORE})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
