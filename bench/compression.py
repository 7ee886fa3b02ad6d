"""Compression beside the peers that have it: `python -m bench.compression`.

Each content goes to all subscribers of one channel, one message at a time: the next is published when everyone has
the last one. Each server runs with compression switched on. Half of the runs offer it, half do not, so the
difference is what a client that negotiates it costs. Bytes are those of the network per delivery, frame headers
included, CPU is the server's process tree per delivery, and memory is its growth per connection once all contents
were sent.
"""

import argparse
import asyncio
import itertools
import os
import random
import sys
from collections.abc import Iterator
from time import monotonic
from typing import cast

import msgspec
from msgspec import Struct

from bench import proctree
from bench.contenders import COMPRESSING, Contender
from bench.load import websocket
from bench.load.dialects import DIALECTS, Dialect
from bench.load.handshake import enter
from bench.machine import LOAD_CORE, describe
from bench.report import table
from bench.servers import NotStarted, Running

SUBSCRIBERS = 500
SECONDS = 2.0
OFFER = "permessage-deflate; client_max_window_bits"
CHANNEL = "compression"
VARIANTS = 50
"""Messages of each content that follow each other: no two in a row are the same."""
_WARM = 20
_PATIENCE_S = 30.0
_LEAST = 60
"""A shorter frame is a heartbeat."""
_TEXT = (
    "the order was shipped today and should arrive on Thursday please let me know if the invoice number is right "
    "thanks for your message we will look into it tomorrow morning the meeting room is free after lunch great work"
)
_WORDS = _TEXT.split()


class Cost(Struct, frozen=True):
    """One content: bytes and µs of CPU per delivery."""

    size: float
    cpu_us: float


class Measured(Struct, frozen=True):
    """A server: the cost of each content, and bytes of memory per connection."""

    costs: list[Cost]
    memory: float


def contents() -> dict[str, list[bytes]]:
    """JSON of four kinds, by their title."""
    source = random.Random(1)
    return {
        "chat, 0.3 KB": [_chat(source, 30) for _ in range(VARIANTS)],
        "chat, 2 KB": [_chat(source, 320) for _ in range(VARIANTS)],
        "row change, 1.5 KB": [_change(source) for _ in range(VARIANTS)],
        "snapshot, 48 KB": [_snapshot(source) for _ in range(VARIANTS)],
    }


def _text(source: random.Random, words: int) -> str:
    return " ".join(source.choice(_WORDS) for _ in range(words))


def _chat(source: random.Random, words: int) -> bytes:
    author = {
        "id": source.randrange(10**6),
        "name": "Ada Lovelace",
        "avatar": f"/a/{source.randrange(10**6)}.webp",
    }
    return msgspec.json.encode({"text": _text(source, words), "author": author, "replyTo": None})


def _row(source: random.Random, words: int) -> dict[str, object]:
    return {
        "id": source.randrange(10**7),
        "customer_id": source.randrange(10**5),
        "status": source.choice(("open", "paid", "shipped", "returned")),
        "total": round(source.random() * 500, 2),
        "currency": "EUR",
        "note": _text(source, words),
        "updated_at": f"2026-11-29T07:{source.randrange(60):02d}:{source.randrange(60):02d}Z",
    }


def _change(source: random.Random) -> bytes:
    row = _row(source, 95)
    return msgspec.json.encode({"operation": "UPDATE", "data": row, "old": {**row, "status": "new"}})


def _snapshot(source: random.Random) -> bytes:
    return msgspec.json.encode([_row(source, 8) for _ in range(230)])


class _Subscriber(asyncio.Protocol):
    """Counts frames and their bytes for all."""

    def __init__(self, tally: "_Tally") -> None:
        self._tally = tally
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._data + data
        at = 0
        while True:
            _, end = websocket.bounds(data, at)
            if not end or end > len(data):
                break
            if end - at >= _LEAST:
                self._tally.count(end - at)
            at = end
        self._data = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - it is gone either way
        self._tally.lost()

    def send(self, frame: bytes) -> None:
        self._transport.write(frame)

    def close(self) -> None:
        self._transport.abort()


class _Tally:
    """What all subscribers were sent."""

    def __init__(self) -> None:
        self.bytes = 0
        self._left = 0
        self._complete = asyncio.get_running_loop().create_future()

    def expect(self, frames: int) -> "asyncio.Future[None]":
        """Done when `frames` frames have come."""
        self._left = frames
        self._complete = asyncio.get_running_loop().create_future()
        return self._complete

    def count(self, size: int) -> None:
        self.bytes += size
        self._left -= 1
        if self._left == 0:
            self._complete.set_result(None)

    def lost(self) -> None:
        if not self._complete.done():
            self._complete.set_exception(ConnectionError("the server closed a connection"))


class _Nobody(asyncio.Protocol):
    """The publisher, which reads nothing of what it is answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)


async def measure(
    server: Running, dialect: Dialect, offer: str | None, subscribers: int, seconds: float
) -> Measured:
    """Send every content to `subscribers`, each for `seconds`."""
    tally = _Tally()
    publisher = _Nobody()
    await enter(dialect, server.host, server.port, None, publisher, offer)
    before = proctree.resident(server.pid)
    everyone = [_Subscriber(tally) for _ in range(subscribers)]
    for each in everyone:
        await enter(dialect, server.host, server.port, CHANNEL, each, offer)
    costs = []
    for variants in contents().values():
        frames = itertools.cycle([websocket.encode(dialect.publish(CHANNEL, each)) for each in variants])
        await _deliver(publisher, tally, frames, subscribers, messages=_WARM)
        sent, cpu = tally.bytes, proctree.cpu_seconds(server.pid)
        count = await _deliver(publisher, tally, frames, subscribers, until=monotonic() + seconds)
        deliveries = count * subscribers
        costs.append(
            Cost((tally.bytes - sent) / deliveries, (proctree.cpu_seconds(server.pid) - cpu) / deliveries * 1e6)
        )
    memory = (proctree.resident(server.pid) - before) / subscribers
    tally.expect(0).cancel()
    for each in everyone:
        each.close()
    publisher.transport.abort()
    return Measured(costs, memory)


async def _deliver(
    publisher: _Nobody,
    tally: _Tally,
    frames: Iterator[bytes],
    subscribers: int,
    *,
    messages: int = sys.maxsize,
    until: float = float("inf"),
) -> int:
    """Publish one after the other; how many."""
    count = 0
    while count < messages and monotonic() < until:
        complete = tally.expect(subscribers)
        publisher.transport.write(next(frames))
        await asyncio.wait_for(complete, _PATIENCE_S)
        count += 1
    return count


def report(contenders: tuple[Contender, ...], subscribers: int, seconds: float) -> str:
    """All of them, each on a server of its own without and with the offer, as a table."""
    lines = []
    for contender in contenders:
        for offer in (None, OFFER):
            name = f"{contender.name}, {'not offered' if offer is None else 'compressed'}"
            try:
                with contender.running() as server:
                    dialect = DIALECTS[contender.dialect]
                    found = asyncio.run(measure(server, dialect, offer, subscribers, seconds))
            except (NotStarted, OSError, TimeoutError) as reason:
                lines.append([name, *(["–"] * len(contents())), str(reason)])
                continue
            cells = [f"{each.size:,.0f} B, {each.cpu_us:.2f} µs" for each in found.costs]
            lines.append([name, *cells, f"{found.memory / 1024:.1f} KiB"])
    return table([f"1 → {subscribers:,}", *contents(), "memory per connection"], lines)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.compression", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=SUBSCRIBERS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each content is sent")
    parser.add_argument("--only", action="append", help="the name of a server (may be repeated)")
    arguments = parser.parse_args()
    chosen = tuple(each for each in COMPRESSING if not arguments.only or each.name in arguments.only)
    print("\n".join(describe()))
    os.sched_setaffinity(0, {LOAD_CORE})
    print(report(chosen, arguments.subscribers, arguments.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
