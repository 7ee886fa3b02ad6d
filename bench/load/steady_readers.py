"""Clients in their own process that take all changes of the benchmarks' table, each at a steady speed.

`python -m bench.load.steady_readers HOST PORT COUNT` prints `ready` when `COUNT` clients are subscribed, at speeds
from SLOWEST to FASTEST. When its standard input is closed, it prints as JSON how many changes all of them had, how
many clients were disconnected, how many gaps were reported, and how many changes came twice or out of order.
"""

import asyncio
import os
import sys

import msgspec
import uvloop
from msgspec import Struct

from bench.load.listener import Listener, listen
from bench.load.writer import TABLE
from bench.machine import LOAD_CORE

SLOWEST = 1_000.0
FASTEST = 50_000.0
"""Changes a second."""
_PAUSE_S = 0.01
"""A client that is this far ahead of its speed reads nothing during that time."""
_SUBSCRIBE = msgspec.json.encode({"type": "subscribe", "topic": TABLE})


class Taken(Struct, frozen=True):
    """What the clients report together."""

    changes: int
    closed: int
    gaps: int
    faults: int


class _Row(Struct):
    id: int


class _Frame(Struct):
    type: str
    recovered: bool | None = None
    data: _Row | None = None


_decode = msgspec.json.Decoder(_Frame).decode


class _Reader:
    """A client that takes rows 1, 2, 3 … at most `speed` of them a second."""

    def __init__(self, speed: float) -> None:
        self.seen = 0
        self.gaps = 0
        self.faults = 0
        self.listener: Listener | None = None
        self._interval = 1 / speed
        self._due = 0.0
        self._paused_until = 0.0

    def hear(self, content: bytes, now: float) -> None:
        frame = _decode(content)
        if frame.type == "subscribed":
            self.gaps += frame.recovered is False
        elif frame.data is not None:
            self.seen += 1
            self.faults += frame.data.id != self.seen
            self._due = max(self._due, now) + self._interval
            ahead = self._due - now
            if ahead > _PAUSE_S and self._paused_until <= now and self.listener is not None:
                self._paused_until = now + ahead
                self.listener.pause(ahead)


def speeds(count: int) -> list[float]:
    """Of `count` clients, evenly spread by ratio."""
    steps = max(1, count - 1)
    return [SLOWEST * (FASTEST / SLOWEST) ** (step / steps) for step in range(count)]


async def main() -> None:
    """Read until the standard input ends."""
    host, port, count = sys.argv[1:]
    readers = [_Reader(speed) for speed in speeds(int(count))]
    for reader in readers:
        reader.listener = await listen(host, int(port), _SUBSCRIBE, reader.hear)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    taken = Taken(
        changes=sum(each.seen for each in readers),
        closed=sum(each.listener is None or each.listener.gone.is_set() for each in readers),
        gaps=sum(each.gaps for each in readers),
        faults=sum(each.faults for each in readers),
    )
    print(msgspec.json.encode(taken).decode())


if __name__ == "__main__":
    os.sched_setaffinity(0, {LOAD_CORE})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
